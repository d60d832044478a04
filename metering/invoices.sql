-- name: get_document
SELECT document
FROM invoices
WHERE tenant_id = %(tenant_id)s AND invoice_id = %(invoice_id)s;

-- name: get_last_charge_time
SELECT max(charge_time)
FROM usage_records
WHERE tenant_id = %(tenant_id)s AND charge_time < %(before_time)s;

-- name: read_period
-- One statement, so that an image charged meanwhile is in all of its parts or in none: usage and captures of a
-- period are compared to the nano. Usage and capture of an image carry the time of their common transaction.
WITH period_usage AS MATERIALIZED (
    SELECT image_id, outcome, project, model, tier, width, height, num_inference_steps, gpu_seconds,
        energy_millijoules, energy_source, price_id, price_nanos, charge_time
    FROM usage_records
    WHERE tenant_id = %(tenant_id)s AND charge_time >= %(start_time)s AND charge_time < %(end_time)s
), line_sums AS (
    SELECT line.component, used.model, used.tier, line.consumed_unit, used.price_id,
        -- What takes a price down to its hold differs from image to image: no unit price holds for all.
        CASE WHEN line.component <> 'CAP' THEN line.list_unit_price_nanos END AS list_unit_price_nanos,
        count(*) AS image_count, sum(line.consumed_quantity) AS consumed_quantity,
        sum(line.billed_cost_nanos) AS billed_cost_nanos
    FROM period_usage AS used
    JOIN usage_lines AS line ON line.tenant_id = %(tenant_id)s AND line.image_id = used.image_id
    GROUP BY 1, 2, 3, 4, 5, 6
), energy AS (
    SELECT model, energy_source, count(*) AS image_count, sum(energy_millijoules) AS energy_millijoules
    FROM period_usage
    WHERE outcome = 'SUCCEEDED'
    GROUP BY model, energy_source
), counts AS (
    SELECT count(*) FILTER (WHERE outcome = 'SUCCEEDED') AS image_count,
        count(*) FILTER (WHERE outcome <> 'SUCCEEDED') AS failed_image_count,
        coalesce(sum(price_nanos), 0) AS priced_nanos
    FROM period_usage
)
SELECT image_count, failed_image_count, priced_nanos,
    (SELECT coalesce(sum(amount_nanos), 0)
     FROM transfers
     WHERE tenant_id = %(tenant_id)s AND kind = 'POST'
         AND create_time >= %(start_time)s AND create_time < %(end_time)s) AS captured_nanos,
    -- Decimals as text: JSON's numbers would become floats on the way.
    (SELECT coalesce(jsonb_agg(to_jsonb(line_sums) || jsonb_build_object(
            'list_unit_price_nanos', list_unit_price_nanos::text, 'consumed_quantity', consumed_quantity::text)), '[]')
     FROM line_sums) AS line_sums,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('price_id', price_id, 'document', document)), '[]')
     FROM price_versions
     WHERE price_id IN (SELECT price_id FROM line_sums)) AS prices,
    (SELECT coalesce(jsonb_agg(to_jsonb(energy) ORDER BY model, energy_source), '[]') FROM energy) AS energy,
    (SELECT coalesce(jsonb_agg(to_jsonb(period_usage) - '{outcome,tier,price_id}'::text[]
            ORDER BY charge_time, image_id), '[]')
     FROM period_usage
     WHERE outcome = 'SUCCEEDED' AND image_count <= %(images_max)s) AS images
FROM counts;

-- name: take_usage
WITH taken AS (
    DELETE FROM uninvoiced_usage AS waiting
    USING usage_records AS used
    WHERE waiting.tenant_id = %(tenant_id)s AND used.tenant_id = waiting.tenant_id
        AND used.image_id = waiting.image_id AND used.charge_time < %(end_time)s
    RETURNING waiting.image_id
)
INSERT INTO invoiced_usage (tenant_id, image_id, invoice_id)
SELECT %(tenant_id)s, image_id, %(invoice_id)s FROM taken;

-- name: read_period
-- One statement, so that an image charged meanwhile is in all of its parts or in none: usage and captures of a
-- period are compared to the nano. Usage and capture of an image carry the time of their common transaction.
WITH chosen AS MATERIALIZED (
    SELECT image_id
    FROM uninvoiced_usage
    WHERE tenant_id = %(tenant_id)s AND %(taken_by)s::text IS NULL
    UNION ALL
    SELECT image_id
    FROM invoiced_usage
    WHERE tenant_id = %(tenant_id)s AND invoice_id = %(taken_by)s
), period_usage AS MATERIALIZED (
    SELECT used.image_id, outcome, failure_reason, project, model, tier, width, height, num_inference_steps,
        gpu_seconds, energy_millijoules, energy_error_millijoules, energy_source, price_id, price_nanos, charge_time,
        -- What is late is told by its own month.
        CASE WHEN charge_time < %(start_time)s THEN to_char(charge_time AT TIME ZONE %(time_zone)s, 'YYYY-MM') ELSE ''
            END AS period,
        -- Its place among the versions of the energy factors, from 1; 0 before the first.
        width_bucket(charge_time, %(factor_times)s::timestamptz[]) AS factors_number
    FROM chosen
    JOIN shown_usage AS used ON used.tenant_id = %(tenant_id)s AND used.image_id = chosen.image_id
    WHERE charge_time < %(end_time)s AND (charge_time >= %(start_time)s OR charge_time < %(late_before)s)
), line_sums AS (
    SELECT line.component, used.model, used.tier, line.consumed_unit, used.price_id, used.period,
        -- What takes a price down to its hold differs from image to image: no unit price holds for all.
        CASE WHEN line.component <> 'CAP' THEN line.list_unit_price_nanos END AS list_unit_price_nanos,
        count(*) AS image_count, sum(line.consumed_quantity) AS consumed_quantity,
        sum(line.billed_cost_nanos) AS billed_cost_nanos
    FROM period_usage AS used
    JOIN usage_lines AS line ON line.tenant_id = %(tenant_id)s AND line.image_id = used.image_id
    GROUP BY 1, 2, 3, 4, 5, 6, 7
), energy AS (
    SELECT model, energy_source, factors_number, count(*) AS image_count,
        sum(energy_millijoules) AS energy_millijoules,
        -- Errors of single images are independent: their squares add up.
        round(sqrt(sum(energy_error_millijoules::numeric ^ 2))) AS energy_error_millijoules
    FROM period_usage
    WHERE outcome = 'SUCCEEDED'
    GROUP BY model, energy_source, factors_number
), days AS (
    SELECT (charge_time AT TIME ZONE %(time_zone)s)::date AS day, count(*) AS image_count,
        sum(energy_millijoules) AS energy_millijoules, sum(price_nanos) AS billed_cost_nanos
    FROM period_usage
    WHERE outcome = 'SUCCEEDED' AND period = ''
    GROUP BY 1
), failures AS (
    SELECT outcome, coalesce(failure_reason, '') AS failure_reason, count(*) AS image_count
    FROM period_usage
    WHERE outcome <> 'SUCCEEDED'
    GROUP BY 1, 2
), counts AS (
    SELECT count(*) FILTER (WHERE outcome = 'SUCCEEDED') AS image_count,
        count(*) FILTER (WHERE outcome <> 'SUCCEEDED') AS failed_image_count,
        coalesce(sum(price_nanos), 0) AS priced_nanos
    FROM period_usage
)
SELECT image_count, failed_image_count, priced_nanos,
    (SELECT coalesce(sum(capture.amount_nanos), 0)
     FROM transfers AS capture
     JOIN period_usage AS used ON used.image_id = capture.image_id
     WHERE capture.tenant_id = %(tenant_id)s AND capture.kind = 'POST')
    -- A capture that has no usage is on no list; it must not be overlooked.
    + (SELECT coalesce(sum(capture.amount_nanos), 0)
       FROM transfers AS capture
       WHERE capture.tenant_id = %(tenant_id)s AND capture.kind = 'POST'
           AND capture.create_time >= %(start_time)s AND capture.create_time < %(end_time)s
           AND NOT EXISTS (SELECT FROM usage_records AS used
                           WHERE used.tenant_id = capture.tenant_id AND used.image_id = capture.image_id)
      ) AS captured_nanos,
    -- Granted before the period's end, less what expired, what was paid back and what earlier invoices used up.
    (SELECT coalesce(sum(CASE reason WHEN 'CREDIT_GRANT' THEN amount_nanos ELSE -amount_nanos END), 0)
     FROM transfers
     WHERE tenant_id = %(tenant_id)s AND reason IN ('CREDIT_GRANT', 'BREAKAGE', 'REFUND')
         AND create_time < %(end_time)s)
    - (SELECT coalesce(sum(invoice.credit_applied_nanos), 0)
       FROM invoices AS invoice
       LEFT JOIN invoice_settlements AS settlement USING (tenant_id, invoice_id)
       WHERE invoice.tenant_id = %(tenant_id)s AND settlement.state IS DISTINCT FROM 'VOID') AS prepaid_nanos,
    -- Decimals as text: JSON's numbers would become floats on the way.
    (SELECT coalesce(jsonb_agg(to_jsonb(line_sums) || jsonb_build_object(
            'list_unit_price_nanos', list_unit_price_nanos::text, 'consumed_quantity', consumed_quantity::text)), '[]')
     FROM line_sums) AS line_sums,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('price_id', price_id, 'document', document)), '[]')
     FROM price_versions
     WHERE price_id IN (SELECT price_id FROM line_sums)) AS prices,
    (SELECT coalesce(jsonb_agg(to_jsonb(energy) ORDER BY model, energy_source, factors_number), '[]')
     FROM energy) AS energy,
    (SELECT coalesce(jsonb_agg(to_jsonb(days) ORDER BY day), '[]') FROM days) AS days,
    (SELECT coalesce(jsonb_agg(to_jsonb(failures) ORDER BY outcome, failure_reason), '[]') FROM failures) AS failures,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('image_id', image_id, 'charge_time', charge_time,
            'project', project, 'model', model, 'width', width, 'height', height,
            'num_inference_steps', num_inference_steps, 'gpu_seconds', gpu_seconds,
            'energy_millijoules', energy_millijoules, 'energy_source', energy_source, 'price_nanos', price_nanos)
            ORDER BY charge_time, image_id), '[]')
     FROM period_usage
     WHERE outcome = 'SUCCEEDED' AND image_count <= %(images_max)s) AS images
FROM counts;

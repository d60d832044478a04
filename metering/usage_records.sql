-- name: insert_usage_record
INSERT INTO usage_records (tenant_id, image_id, job_id, attempt, outcome, failure_reason, key_id, project, model,
    precision, tier, width, height, num_inference_steps, seed, gpu_id, session_id, last_mark_number, batch_shares,
    gpu_seconds, queue_seconds, energy_millijoules, energy_error_millijoules, energy_source, price_id, price_nanos,
    currency, labels)
VALUES (%(tenant_id)s, %(image_id)s, %(job_id)s, %(attempt)s, %(outcome)s, %(failure_reason)s, %(key_id)s, %(project)s,
    %(model)s, %(precision)s, %(tier)s, %(width)s, %(height)s, %(num_inference_steps)s, %(seed)s, %(gpu_id)s,
    %(session_id)s, %(last_mark_number)s, %(batch_shares)s, %(gpu_seconds)s, %(queue_seconds)s, %(energy_millijoules)s,
    %(energy_error_millijoules)s, %(energy_source)s, %(price_id)s, %(price_nanos)s, %(currency)s,
    (SELECT labels FROM images WHERE tenant_id = %(tenant_id)s AND image_id = %(image_id)s));

-- name: insert_usage_lines
INSERT INTO usage_lines (tenant_id, image_id, line_number, component, consumed_quantity, consumed_unit,
    list_unit_price_nanos, billed_cost_nanos)
SELECT %(tenant_id)s, %(image_id)s, line.line_number, line.component, line.consumed_quantity, line.consumed_unit,
    line.list_unit_price_nanos, line.billed_cost_nanos
FROM unnest(%(components)s::text[], %(consumed_quantities)s::numeric[], %(consumed_units)s::text[],
        %(list_unit_prices_nanos)s::numeric[], %(billed_costs_nanos)s::bigint[]) WITH ORDINALITY
    AS line (component, consumed_quantity, consumed_unit, list_unit_price_nanos, billed_cost_nanos, line_number);

-- name: get_usage_records
SELECT tenant_id, image_id, job_id, attempt, outcome, failure_reason, key_id, project, model, precision, tier, width,
    height, num_inference_steps, seed, gpu_id, session_id, last_mark_number, batch_shares, gpu_seconds, queue_seconds,
    energy_millijoules, energy_error_millijoules, energy_source, price_id, price_nanos, currency, charge_time, labels
FROM shown_usage
WHERE tenant_id = %(tenant_id)s AND image_id = ANY (%(image_ids)s);

-- name: get_usage_lines
SELECT image_id, component, consumed_quantity, consumed_unit, list_unit_price_nanos, billed_cost_nanos
FROM usage_lines
WHERE tenant_id = %(tenant_id)s AND image_id = ANY (%(image_ids)s)
ORDER BY image_id, line_number;

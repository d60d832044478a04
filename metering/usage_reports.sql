-- name: query_usage
-- A dimension that is not asked for is NULL in every row and so splits nothing.
SELECT
    CASE WHEN %(by_day)s THEN (charge_time AT TIME ZONE %(time_zone)s)::date END AS day,
    CASE WHEN %(by_model)s THEN model END AS model,
    CASE WHEN %(by_size)s THEN width END AS width,
    CASE WHEN %(by_size)s THEN height END AS height,
    CASE WHEN %(by_key)s THEN key_id END AS key_id,
    CASE WHEN %(by_project)s THEN project END AS project,
    CASE WHEN %(by_job)s THEN job_id END AS job_id,
    CASE WHEN %(by_outcome)s THEN outcome END AS outcome,
    currency,
    count(*) AS image_count,
    count(*) FILTER (WHERE outcome = 'SUCCEEDED') AS succeeded_count,
    count(*) FILTER (WHERE outcome = 'FAILED') AS failed_count,
    count(*) FILTER (WHERE outcome = 'BLOCKED') AS blocked_count,
    count(*) FILTER (WHERE outcome = 'CANCELLED') AS cancelled_count,
    coalesce(sum(gpu_seconds) FILTER (WHERE outcome = 'SUCCEEDED'), 0) AS gpu_seconds,
    coalesce(sum(energy_millijoules) FILTER (WHERE outcome = 'SUCCEEDED'), 0) AS energy_millijoules,
    -- Errors of single images are independent: their squares add up.
    round(sqrt(coalesce(sum(energy_error_millijoules::numeric ^ 2) FILTER (WHERE outcome = 'SUCCEEDED'), 0)))
        AS energy_error_millijoules,
    coalesce((%(energy_sources)s::text[])[max(array_position(%(energy_sources)s::text[], energy_source))
        FILTER (WHERE outcome = 'SUCCEEDED')], 'NONE') AS energy_source,
    sum(price_nanos) AS billed_cost_nanos
FROM usage_records
WHERE tenant_id = %(tenant_id)s
    AND charge_time >= coalesce(%(start_time)s, '-infinity'::timestamptz)
    AND charge_time < coalesce(%(end_time)s, 'infinity'::timestamptz)
    AND (%(model)s::text IS NULL OR model = %(model)s)
    AND (%(key_id)s::text IS NULL OR key_id = %(key_id)s)
    AND (%(project)s::text IS NULL OR project = %(project)s)
    AND (%(job_id)s::text IS NULL OR job_id = %(job_id)s)
    AND outcome = ANY (%(outcomes)s)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9
LIMIT %(limit)s OFFSET %(offset)s;

-- name: list_usage
SELECT tenant_id, image_id, job_id, attempt, outcome, failure_reason, key_id, project, model, precision, tier, width,
    height, num_inference_steps, seed, gpu_id, session_id, last_mark_number, batch_shares, gpu_seconds, queue_seconds,
    energy_millijoules, energy_error_millijoules, energy_source, price_id, price_nanos, currency, charge_time
FROM usage_records
WHERE tenant_id = %(tenant_id)s
    AND charge_time >= coalesce(%(start_time)s, '-infinity'::timestamptz)
    AND charge_time < coalesce(%(end_time)s, 'infinity'::timestamptz)
    AND (%(model)s::text IS NULL OR model = %(model)s)
    AND (%(key_id)s::text IS NULL OR key_id = %(key_id)s)
    AND (%(project)s::text IS NULL OR project = %(project)s)
    AND (%(job_id)s::text IS NULL OR job_id = %(job_id)s)
    AND outcome = ANY (%(outcomes)s)
    AND (%(before_time)s::timestamptz IS NULL
         OR (charge_time, image_id) < (%(before_time)s, %(before_image_id)s::text))
ORDER BY charge_time DESC, image_id DESC
LIMIT %(limit)s;

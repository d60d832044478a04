-- name: give_memory
-- For the sums of a year: a few hundred thousand rows are grouped without a detour over the disk, compiling the query
-- would take longer than running it, and a plan for any window is a bad one for most.
SELECT set_config('work_mem', '64MB', true), set_config('jit', 'off', true),
    set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: nth_day
-- The day by whose end so many days had usage, read in the order of the roll-ups' key; none when there are fewer.
SELECT day
FROM usage_roll_ups
WHERE tenant_id = %(tenant_id)s AND label_key = '' AND NOT is_month
    AND day >= %(first_day)s AND day < %(end_day)s AND image_count > 0
    AND (%(model)s::text IS NULL OR model = %(model)s)
    AND (%(key_id)s::text IS NULL OR key_id = %(key_id)s)
    AND (%(project)s::text IS NULL OR project = %(project)s)
    AND outcome = ANY (%(outcomes)s)
GROUP BY tenant_id, label_key, is_month, day
ORDER BY day
LIMIT 1 OFFSET %(days)s::bigint - 1;

-- name: query_usage
-- Whole days come from the roll-ups, what is fresh and the edges from the records: each record once. A dimension that
-- is not asked for is NULL in every row and so splits nothing. The first row is the total, whatever the page.
WITH records AS (
    SELECT *
    FROM shown_usage
    WHERE tenant_id = %(tenant_id)s AND charge_time >= %(head_start)s AND charge_time < %(head_end)s
    UNION ALL
    SELECT *
    FROM shown_usage
    WHERE tenant_id = %(tenant_id)s AND charge_time >= %(tail_start)s AND charge_time < %(tail_end)s
    UNION ALL
    -- One by one by their key: they are few, and their records many.
    SELECT used.*
    FROM fresh_usage AS fresh
    CROSS JOIN LATERAL (
        SELECT *
        FROM shown_usage
        WHERE shown_usage.tenant_id = fresh.tenant_id AND shown_usage.image_id = fresh.image_id
        LIMIT 1
    ) AS used
    WHERE fresh.tenant_id = %(tenant_id)s AND used.charge_time >= %(head_end)s AND used.charge_time < %(tail_start)s
), rolled AS (
    -- Whole months where days do not matter, days around them.
    SELECT *
    FROM usage_roll_ups
    WHERE tenant_id = %(tenant_id)s AND label_key IN ('', %(label_key)s) AND is_month
        AND day >= %(first_month)s AND day < %(end_month)s
    UNION ALL
    SELECT *
    FROM usage_roll_ups
    WHERE tenant_id = %(tenant_id)s AND label_key IN ('', %(label_key)s) AND NOT is_month
        AND day >= %(first_day)s AND day < %(first_month)s
    UNION ALL
    SELECT *
    FROM usage_roll_ups
    WHERE tenant_id = %(tenant_id)s AND label_key IN ('', %(label_key)s) AND NOT is_month
        AND day >= %(end_month)s AND day < %(end_day)s
), labelled AS (
    -- Once before they count for both, without what nobody asks for.
    SELECT CASE WHEN %(by_day)s THEN day END AS day, outcome,
        CASE WHEN %(by_key)s OR %(key_id)s::text IS NOT NULL THEN key_id END AS key_id, project, model, CASE WHEN %(by_size)s THEN width END AS width, CASE WHEN %(by_size)s THEN height END AS height,
        energy_source, currency, label_value, sum(image_count)::bigint AS image_count,
        sum(gpu_microseconds)::bigint AS gpu_microseconds, sum(energy_millijoules)::bigint AS energy_millijoules,
        sum(energy_variance) AS energy_variance, sum(billed_cost_nanos)::bigint AS billed_cost_nanos
    FROM rolled
    WHERE label_key <> ''
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
), facts AS (
    SELECT (charge_time AT TIME ZONE %(time_zone)s)::date AS day, outcome, key_id, project, model, width, height,
        job_id, energy_source, currency, coalesce(labels ->> %(label_key)s, '') AS label_value,
        1::bigint AS image_count, round(gpu_seconds * 1000000)::bigint AS gpu_microseconds, energy_millijoules,
        energy_error_millijoules::double precision ^ 2 AS energy_variance, price_nanos AS billed_cost_nanos
    FROM records
    UNION ALL
    SELECT day, outcome, key_id, project, model, width, height, NULL, energy_source, currency, '', image_count,
        gpu_microseconds, energy_millijoules, energy_variance, billed_cost_nanos
    FROM rolled
    WHERE label_key = ''
    UNION ALL
    -- What has the label counts for its value, and no longer for those without it.
    SELECT day, outcome, key_id, project, model, width, height, NULL, energy_source, currency, side.label_value,
        side.factor * image_count, side.factor * gpu_microseconds, side.factor * energy_millijoules,
        side.factor * energy_variance, side.factor * billed_cost_nanos
    FROM labelled
    CROSS JOIN LATERAL (VALUES (1, labelled.label_value), (-1, '')) AS side (factor, label_value)
), by_source AS MATERIALIZED (
    SELECT
        CASE WHEN %(by_day)s THEN day END AS day,
        CASE WHEN %(by_model)s THEN model END AS model,
        CASE WHEN %(by_size)s THEN width END AS width,
        CASE WHEN %(by_size)s THEN height END AS height,
        CASE WHEN %(by_key)s THEN key_id END AS key_id,
        CASE WHEN %(by_project)s THEN project END AS project,
        CASE WHEN %(by_job)s THEN job_id END AS job_id,
        CASE WHEN %(by_label)s THEN label_value END AS label_value,
        CASE WHEN %(by_outcome)s THEN outcome END AS outcome_group,
        currency, outcome, energy_source,
        sum(image_count) AS image_count, sum(gpu_microseconds) AS gpu_microseconds,
        sum(energy_millijoules) AS energy_millijoules, greatest(0, sum(energy_variance)) AS energy_variance,
        sum(billed_cost_nanos) AS billed_cost_nanos
    FROM facts
    WHERE (%(model)s::text IS NULL OR model = %(model)s)
        AND (%(key_id)s::text IS NULL OR key_id = %(key_id)s)
        AND (%(project)s::text IS NULL OR project = %(project)s)
        AND (%(job_id)s::text IS NULL OR job_id = %(job_id)s)
        AND outcome = ANY (%(outcomes)s)
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
    HAVING sum(image_count) > 0
), grouped AS (
    SELECT grouping(outcome_group) = 1 AS is_total, day, model, width, height, key_id, project, job_id, label_value,
        outcome_group AS outcome, currency,
        sum(image_count) AS image_count,
        coalesce(sum(image_count) FILTER (WHERE outcome = 'SUCCEEDED'), 0) AS succeeded_count,
        coalesce(sum(image_count) FILTER (WHERE outcome = 'FAILED'), 0) AS failed_count,
        coalesce(sum(image_count) FILTER (WHERE outcome = 'BLOCKED'), 0) AS blocked_count,
        coalesce(sum(image_count) FILTER (WHERE outcome = 'CANCELLED'), 0) AS cancelled_count,
        coalesce(sum(gpu_microseconds) FILTER (WHERE outcome = 'SUCCEEDED'), 0) / 1000000 AS gpu_seconds,
        coalesce(sum(energy_millijoules) FILTER (WHERE outcome = 'SUCCEEDED'), 0) AS energy_millijoules,
        -- Errors of single images are independent: their squares add up.
        round(sqrt(coalesce(sum(energy_variance) FILTER (WHERE outcome = 'SUCCEEDED'), 0))) AS energy_error_millijoules,
        coalesce((%(energy_sources)s::text[])[max(array_position(%(energy_sources)s::text[], energy_source))
            FILTER (WHERE outcome = 'SUCCEEDED')], 'NONE') AS energy_source,
        sum(billed_cost_nanos) AS billed_cost_nanos
    FROM by_source
    GROUP BY GROUPING SETS (
        (day, model, width, height, key_id, project, job_id, label_value, outcome_group, currency), (currency))
), numbered AS (
    SELECT *, row_number() OVER (PARTITION BY is_total ORDER BY day, model, width, height, key_id, project, job_id,
        label_value, outcome, currency) AS number
    FROM grouped
)
SELECT is_total, day, model, width, height, key_id, project, job_id, label_value, outcome, currency, image_count,
    succeeded_count, failed_count, blocked_count, cancelled_count, gpu_seconds, energy_millijoules,
    energy_error_millijoules, energy_source, billed_cost_nanos
FROM numbered
WHERE is_total OR (number > %(offset)s AND number <= %(offset)s::bigint + %(limit)s)
ORDER BY is_total DESC, number;

-- name: list_usage
SELECT tenant_id, image_id, job_id, attempt, outcome, failure_reason, key_id, project, model, precision, tier, width,
    height, num_inference_steps, seed, gpu_id, session_id, last_mark_number, batch_shares, gpu_seconds, queue_seconds,
    energy_millijoules, energy_error_millijoules, energy_source, price_id, price_nanos, currency, charge_time, labels
FROM shown_usage
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

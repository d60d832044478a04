-- Where the joules of each GPU and UTC hour went: worked out from the segments, stored until and when they are final.

-- name: hours_between
SELECT DISTINCT gpu_id, hour_start_time
FROM energy_readings
WHERE hour_start_time >= %(since_hour)s AND hour_start_time < %(until_hour)s
ORDER BY gpu_id, hour_start_time;

-- name: hours_to_store
-- Never sealed, or grown since; what was looked at the longest ago comes first. Sealed ones are in no index that is read.
SELECT reading.gpu_id, reading.hour_start_time
FROM (
    SELECT DISTINCT gpu_id, hour_start_time
    FROM energy_readings
    WHERE sealed_number IS DISTINCT FROM last_number
) AS reading
LEFT JOIN energy_hours AS hour USING (gpu_id, hour_start_time)
ORDER BY hour.update_time NULLS FIRST, reading.gpu_id, reading.hour_start_time
LIMIT %(limit)s;

-- name: note_sealed
-- As they were when the hour was worked out: readings that have grown meanwhile stay open.
UPDATE energy_readings AS reading
SET sealed_number = seen.last_number
FROM (
    SELECT gpu_id, epoch, hour_start_time, last_number,
        sum(last_number) OVER (PARTITION BY gpu_id, hour_start_time) AS segment_mark
    FROM energy_readings
    WHERE gpu_id = %(gpu_id)s AND hour_start_time = %(hour_start_time)s
) AS seen
WHERE reading.gpu_id = seen.gpu_id AND reading.epoch = seen.epoch
    AND reading.hour_start_time = seen.hour_start_time AND seen.segment_mark = %(segment_mark)s;

-- name: reconcile
-- Where each joule went. A share counts by what became of its attempt; one that names no attempt of its own tenant is
-- that tenant's overhead. An hour is past once the GPU's timeline goes on in a later one.
WITH wanted AS (
    SELECT gpu_id, hour_start_time
    FROM unnest(%(gpu_ids)s::text[], %(hours)s::timestamptz[]) AS wanted (gpu_id, hour_start_time)
), counted AS (
    SELECT
        gpu_id,
        hour_start_time,
        sum(last_millijoules - first_millijoules)::bigint AS millijoules,
        string_agg(DISTINCT source, '+' ORDER BY source) AS sources,
        sum(last_number)::bigint AS segment_mark
    FROM energy_readings JOIN wanted USING (gpu_id, hour_start_time)
    GROUP BY gpu_id, hour_start_time
), segment AS (
    SELECT
        gpu_id,
        hour_start_time,
        count(*) AS segment_count,
        sum(millijoules) FILTER (WHERE kind = 'SILENT') AS silent,
        sum(millijoules) FILTER (WHERE kind = 'LOAD') AS load,
        sum(millijoules) FILTER (WHERE kind = 'PARKED') AS parked,
        sum(millijoules) FILTER (WHERE kind = 'FREE') AS free,
        sum(millijoules) FILTER (WHERE kind = 'UNKNOWN') AS unknown,
        sum(millijoules) FILTER (WHERE kind = 'WORK') AS work
    FROM energy_segments JOIN wanted USING (gpu_id, hour_start_time)
    GROUP BY gpu_id, hour_start_time
), parked AS (
    SELECT gpu_id, hour_start_time, jsonb_agg(jsonb_build_object('tenant_id', tenant_id, 'gpu_id', gpu_id,
        'hour_start_time', hour_start_time, 'source', source, 'millijoules', millijoules)
        ORDER BY tenant_id, source) AS hours
    FROM (
        SELECT gpu_id, hour_start_time, tenant_id, source, sum(millijoules)::bigint AS millijoules
        FROM energy_segments JOIN wanted USING (gpu_id, hour_start_time)
        WHERE kind = 'PARKED' AND tenant_id IS NOT NULL
        GROUP BY gpu_id, hour_start_time, tenant_id, source
    ) AS of_tenant
    GROUP BY gpu_id, hour_start_time
), shared AS (
    SELECT
        segment.gpu_id,
        segment.hour_start_time,
        sum(share.millijoules) FILTER (WHERE attempt.outcome = 'SUCCEEDED') AS images,
        sum(share.millijoules) FILTER (
            WHERE attempt.attempt IS NOT NULL AND (attempt.outcome IS NULL OR attempt.outcome = 'QUARANTINED')
        ) AS in_progress
    FROM energy_segments AS segment
    JOIN wanted USING (gpu_id, hour_start_time)
    JOIN energy_shares AS share USING (gpu_id, epoch, number)
    LEFT JOIN attempts AS attempt
        ON attempt.image_id = share.image_id
        AND attempt.attempt = share.attempt
        AND attempt.tenant_id = share.tenant_id
    WHERE segment.kind = 'WORK'
    GROUP BY segment.gpu_id, segment.hour_start_time
)
SELECT
    gpu_id,
    hour_start_time,
    coalesce(counted.sources, '') AS sources,
    coalesce(counted.millijoules, 0) AS counter_millijoules,
    coalesce(images, 0)::bigint AS images_millijoules,
    (coalesce(silent, 0) + coalesce(work, 0) - coalesce(images, 0) - coalesce(in_progress, 0))::bigint
        AS overhead_millijoules,
    coalesce(in_progress, 0)::bigint AS in_progress_millijoules,
    coalesce(segment.parked, 0)::bigint AS parked_millijoules,
    coalesce(free, 0)::bigint AS free_millijoules,
    coalesce(load, 0)::bigint AS load_millijoules,
    coalesce(unknown, 0)::bigint AS unknown_millijoules,
    coalesce(segment_count, 0) AS segment_count,
    coalesce(counted.segment_mark, 0) AS segment_mark,
    coalesce(parked.hours, '[]') AS parked_hours,
    EXISTS (
        SELECT FROM energy_readings AS later
        WHERE later.gpu_id = wanted.gpu_id AND later.hour_start_time > wanted.hour_start_time
    ) AS is_past
FROM wanted
LEFT JOIN counted USING (gpu_id, hour_start_time)
LEFT JOIN segment USING (gpu_id, hour_start_time)
LEFT JOIN parked USING (gpu_id, hour_start_time)
LEFT JOIN shared USING (gpu_id, hour_start_time)
ORDER BY gpu_id, hour_start_time;

-- name: store_hour
INSERT INTO energy_hours (gpu_id, hour_start_time, sources, counter_millijoules, images_millijoules,
    overhead_millijoules, in_progress_millijoules, parked_millijoules, free_millijoules, load_millijoules,
    unknown_millijoules, segment_count, segment_mark, seal_time)
VALUES (%(gpu_id)s, %(hour_start_time)s, %(sources)s, %(counter_millijoules)s, %(images_millijoules)s,
    %(overhead_millijoules)s, %(in_progress_millijoules)s, %(parked_millijoules)s, %(free_millijoules)s,
    %(load_millijoules)s, %(unknown_millijoules)s, %(segment_count)s, %(segment_mark)s,
    CASE WHEN %(is_final)s THEN now() END)
ON CONFLICT (gpu_id, hour_start_time) DO UPDATE
SET sources = EXCLUDED.sources,
    counter_millijoules = EXCLUDED.counter_millijoules,
    images_millijoules = EXCLUDED.images_millijoules,
    overhead_millijoules = EXCLUDED.overhead_millijoules,
    in_progress_millijoules = EXCLUDED.in_progress_millijoules,
    parked_millijoules = EXCLUDED.parked_millijoules,
    free_millijoules = EXCLUDED.free_millijoules,
    load_millijoules = EXCLUDED.load_millijoules,
    unknown_millijoules = EXCLUDED.unknown_millijoules,
    segment_count = EXCLUDED.segment_count,
    segment_mark = EXCLUDED.segment_mark,
    update_time = now(),
    seal_time = EXCLUDED.seal_time;

-- name: knows_gpu
SELECT EXISTS (SELECT FROM gpus WHERE gpu_id = %(gpu_id)s);

-- name: stored_hours
SELECT gpu_id, hour_start_time, sources, counter_millijoules, images_millijoules, overhead_millijoules,
    in_progress_millijoules, parked_millijoules, free_millijoules, load_millijoules, unknown_millijoules,
    segment_count, update_time, seal_time
FROM energy_hours
WHERE (%(gpu_id)s::text IS NULL OR gpu_id = %(gpu_id)s)
    AND (%(start_time)s::timestamptz IS NULL OR hour_start_time >= %(start_time)s)
    AND (%(end_time)s::timestamptz IS NULL OR hour_start_time < %(end_time)s)
    AND (%(after_gpu_id)s::text IS NULL
        OR (gpu_id, hour_start_time) > (%(after_gpu_id)s, %(after_hour)s::timestamptz))
ORDER BY gpu_id, hour_start_time
LIMIT %(limit)s;

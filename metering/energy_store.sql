-- Energy segments in the database: written by the recorder for the meter, read when an image is finished.

-- name: name_gpu
INSERT INTO gpus (gpu_id, display_name)
VALUES (%(gpu_id)s, %(display_name)s)
ON CONFLICT (gpu_id) DO UPDATE SET display_name = EXCLUDED.display_name
WHERE gpus.display_name <> EXCLUDED.display_name;

-- name: lock_gpu
-- Two deliveries of one batch must not interleave.
SELECT gpu_id FROM gpus WHERE gpu_id = %(gpu_id)s FOR UPDATE;

-- name: last_number
SELECT coalesce(max(number), 0) FROM energy_segments WHERE gpu_id = %(gpu_id)s AND epoch = %(epoch)s;

-- name: insert_segment
INSERT INTO energy_segments (gpu_id, epoch, number, start_time, end_time, hour_start_time, millijoules,
    error_millijoules, kind, source, tenant_id, session_id, last_mark_number)
VALUES (%(gpu_id)s, %(epoch)s, %(number)s, %(start_time)s, %(end_time)s, %(hour_start_time)s, %(millijoules)s,
    %(error_millijoules)s, %(kind)s, %(source)s, %(tenant_id)s, %(session_id)s, %(last_mark_number)s);

-- name: insert_share
INSERT INTO energy_shares (tenant_id, gpu_id, epoch, number, image_id, attempt, millijoules, error_millijoules)
VALUES (%(tenant_id)s, %(gpu_id)s, %(epoch)s, %(number)s, %(image_id)s, %(attempt)s, %(millijoules)s,
    %(error_millijoules)s);

-- name: note_readings
INSERT INTO energy_readings (gpu_id, epoch, hour_start_time, first_millijoules, first_read_time, last_millijoules,
    last_read_time, last_number, source)
VALUES (%(gpu_id)s, %(epoch)s, %(hour_start_time)s, %(first_millijoules)s, %(first_read_time)s,
    %(last_millijoules)s, %(last_read_time)s, %(last_number)s, %(source)s)
ON CONFLICT (gpu_id, epoch, hour_start_time) DO UPDATE
SET last_millijoules = EXCLUDED.last_millijoules,
    last_read_time = EXCLUDED.last_read_time,
    last_number = EXCLUDED.last_number
WHERE EXCLUDED.last_number > energy_readings.last_number;

-- name: last_reading
SELECT epoch, last_number, last_millijoules AS millijoules, last_read_time AS read_time, source
FROM energy_readings
WHERE gpu_id = %(gpu_id)s
ORDER BY epoch DESC, hour_start_time DESC
LIMIT 1;

-- name: has_mark
SELECT EXISTS (
    SELECT FROM energy_segments
    WHERE session_id = %(session_id)s AND last_mark_number >= %(last_mark_number)s AND gpu_id = %(gpu_id)s
);

-- name: image_energy
-- Complete is what was watched without a gap: one epoch that the session was seen in before the attempt was
-- claimed, up to a segment that reaches the attempt's last mark, and no time of the attempt given up as SILENT.
WITH share AS (
    SELECT
        coalesce(sum(millijoules), 0)::bigint AS millijoules,
        coalesce(ceil(sqrt(sum(error_millijoules::numeric ^ 2))), 0)::bigint AS error_millijoules,
        min(epoch) AS first_epoch,
        max(epoch) AS last_epoch
    FROM energy_shares
    WHERE image_id = %(image_id)s AND attempt = %(attempt)s AND gpu_id = %(gpu_id)s
), last_segment AS (
    SELECT epoch, end_time, source
    FROM energy_segments
    WHERE session_id = %(session_id)s AND last_mark_number >= %(last_mark_number)s AND gpu_id = %(gpu_id)s
    ORDER BY last_mark_number, epoch, number
    LIMIT 1
), first_segment AS (
    SELECT segment.start_time
    FROM energy_segments AS segment JOIN last_segment USING (epoch)
    WHERE segment.session_id = %(session_id)s AND segment.gpu_id = %(gpu_id)s
    ORDER BY segment.last_mark_number, segment.number
    LIMIT 1
), claim AS (
    SELECT claim_time FROM attempts WHERE image_id = %(image_id)s AND attempt = %(attempt)s
)
SELECT
    share.millijoules,
    share.error_millijoules,
    coalesce(last_segment.source, 'NONE') AS source,
    coalesce(
        share.first_epoch = last_segment.epoch
        AND share.last_epoch = last_segment.epoch
        AND first_segment.start_time <= claim.claim_time
        AND NOT EXISTS (
            SELECT FROM energy_segments AS silent
            WHERE silent.kind = 'SILENT' AND silent.session_id = %(session_id)s
                AND silent.end_time > claim.claim_time AND silent.start_time < last_segment.end_time
        ),
        false
    ) AS is_complete
FROM share
LEFT JOIN last_segment ON true
LEFT JOIN first_segment ON true
LEFT JOIN claim ON true;

-- name: reconciliations
-- Where each joule of an hour went. A share counts by what became of its attempt; one that names no attempt of
-- its own tenant is that tenant's overhead.
WITH counted AS (
    SELECT gpu_id, hour_start_time, sum(last_millijoules - first_millijoules)::bigint AS millijoules,
        string_agg(DISTINCT source, '+' ORDER BY source) AS sources
    FROM energy_readings
    WHERE hour_start_time >= %(since_hour)s AND hour_start_time < %(until_hour)s
    GROUP BY gpu_id, hour_start_time
), segment AS (
    SELECT
        gpu_id,
        hour_start_time,
        count(*) AS segment_count,
        sum(millijoules) AS total,
        sum(millijoules) FILTER (WHERE kind = 'SILENT') AS silent,
        sum(millijoules) FILTER (WHERE kind = 'LOAD') AS load,
        sum(millijoules) FILTER (WHERE kind = 'PARKED') AS parked,
        sum(millijoules) FILTER (WHERE kind = 'FREE') AS free,
        sum(millijoules) FILTER (WHERE kind = 'UNKNOWN') AS unknown,
        sum(millijoules) FILTER (WHERE kind = 'WORK') AS work
    FROM energy_segments
    WHERE hour_start_time >= %(since_hour)s AND hour_start_time < %(until_hour)s
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
    JOIN energy_shares AS share USING (gpu_id, epoch, number)
    LEFT JOIN attempts AS attempt
        ON attempt.image_id = share.image_id
        AND attempt.attempt = share.attempt
        AND attempt.tenant_id = share.tenant_id
    WHERE segment.hour_start_time >= %(since_hour)s AND segment.hour_start_time < %(until_hour)s
        AND segment.kind = 'WORK'
    GROUP BY segment.gpu_id, segment.hour_start_time
)
SELECT
    gpu_id,
    hour_start_time,
    counted.sources,
    counted.millijoules AS counter_millijoules,
    coalesce(segment_count, 0) AS segment_count,
    coalesce(images, 0)::bigint AS images_millijoules,
    (coalesce(silent, 0) + coalesce(work, 0) - coalesce(images, 0) - coalesce(in_progress, 0))::bigint
        AS overhead_millijoules,
    coalesce(in_progress, 0)::bigint AS in_progress_millijoules,
    coalesce(parked, 0)::bigint AS parked_millijoules,
    coalesce(free, 0)::bigint AS free_millijoules,
    coalesce(load, 0)::bigint AS load_millijoules,
    coalesce(unknown, 0)::bigint AS unknown_millijoules
FROM counted
FULL JOIN segment USING (gpu_id, hour_start_time)
LEFT JOIN shared USING (gpu_id, hour_start_time)
ORDER BY gpu_id, hour_start_time;

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
-- A share counts under its own tenant alone: a mark may name whatever its worker likes.
WITH claim AS (
    SELECT tenant_id, claim_time FROM attempts WHERE image_id = %(image_id)s AND attempt = %(attempt)s
), share AS (
    SELECT
        coalesce(sum(millijoules), 0)::bigint AS millijoules,
        coalesce(ceil(sqrt(sum(error_millijoules::numeric ^ 2))), 0)::bigint AS error_millijoules,
        min(epoch) AS first_epoch,
        max(epoch) AS last_epoch
    FROM energy_shares
    WHERE image_id = %(image_id)s AND attempt = %(attempt)s AND gpu_id = %(gpu_id)s
        AND tenant_id = (SELECT tenant_id FROM claim)
), last_segment AS (
    SELECT epoch, end_time, source
    FROM energy_segments
    WHERE session_id = %(session_id)s AND last_mark_number >= %(last_mark_number)s AND gpu_id = %(gpu_id)s
        AND tenant_id = (SELECT tenant_id FROM claim)
    ORDER BY last_mark_number, epoch, number
    LIMIT 1
), first_segment AS (
    SELECT segment.start_time
    FROM energy_segments AS segment JOIN last_segment USING (epoch)
    WHERE segment.session_id = %(session_id)s AND segment.gpu_id = %(gpu_id)s
        AND segment.tenant_id = (SELECT tenant_id FROM claim)
    ORDER BY segment.last_mark_number, segment.number
    LIMIT 1
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
            WHERE silent.kind = 'SILENT' AND silent.session_id = %(session_id)s AND silent.tenant_id = claim.tenant_id
                AND silent.end_time > claim.claim_time AND silent.start_time < last_segment.end_time
        ),
        false
    ) AS is_complete
FROM share
LEFT JOIN last_segment ON true
LEFT JOIN first_segment ON true
LEFT JOIN claim ON true;

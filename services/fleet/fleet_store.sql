-- name: list_tenants
-- What a suspended tenant had accepted goes on to its end; then nothing is kept for it.
SELECT tenant_id, allowed_models, create_time, gpu_weight
FROM tenants
WHERE state = 'ACTIVE'
    OR tenant_id IN (SELECT tenant_id FROM images WHERE state = 'QUEUED'
                     UNION ALL
                     SELECT tenant_id FROM images WHERE state = 'RUNNING')
ORDER BY create_time, tenant_id

-- name: count_backlog
-- Two partial indexes hold just these rows, however many images there were.
SELECT tenant_id, model, width, height, num_inference_steps, sum(queued)::integer AS queued_count,
    sum(running)::integer AS running_count
FROM (SELECT tenant_id, model, width, height, num_inference_steps, 1 AS queued, 0 AS running
      FROM images WHERE state = 'QUEUED'
      UNION ALL
      SELECT tenant_id, model, width, height, num_inference_steps, 0, 1
      FROM images WHERE state = 'RUNNING') AS open_images
GROUP BY tenant_id, model, width, height, num_inference_steps

-- name: list_sessions
SELECT tenant_id, gpu_id, session_id, model, process_id, start_time, ready,
       lease_expire_time < clock_timestamp() - make_interval(secs => %(silence_seconds)s) AS silent
FROM worker_sessions
WHERE end_time IS NULL

-- name: list_wishes
SELECT gpu_id, drain_wish_time, coalesce(keep_empty_until > clock_timestamp(), false) AS keep_empty
FROM gpus
WHERE drain_wish_time IS NOT NULL OR keep_empty_until IS NOT NULL

-- name: list_power_policies
SELECT gpu_id, temperature_celsius_max, duty_cycle_max
FROM power_policies

-- name: measure_speeds
-- GPU-seconds for a billion pixel-steps, from the newest pictures of each model.
SELECT model, sum(gpu_seconds) / sum(width::float8 * height * num_inference_steps / 1e9) AS seconds_per_gigapixel_step
FROM (SELECT image_id, model, gpu_seconds
      FROM attempts
      WHERE end_time IS NOT NULL AND outcome = 'SUCCEEDED' AND gpu_seconds > 0
      ORDER BY end_time DESC
      LIMIT %(limit)s) AS newest
JOIN images USING (image_id, model)
GROUP BY model

-- name: list_ended
-- An attempt that began no step burnt nothing.
SELECT tenant_id, model, outcome = 'SUCCEEDED' AS drawn, max(end_time) AS last_end_time,
    coalesce(sum(CASE WHEN outcome = 'SUCCEEDED' THEN gpu_seconds
                      ELSE extract(epoch FROM end_time - claim_time) END), 0)::float8 AS seconds
FROM attempts
WHERE end_time > %(since)s AND (outcome = 'SUCCEEDED' OR (outcome = 'CANCELLED' AND began_step))
GROUP BY tenant_id, model, outcome = 'SUCCEEDED'

-- name: now
SELECT clock_timestamp()

-- name: write_worker
INSERT INTO workers (tenant_id, gpu_id, model, launcher, isolation, process_id, state, restart_count, start_time)
VALUES (%(tenant_id)s, %(gpu_id)s, %(model)s, %(launcher)s, %(isolation)s, %(process_id)s, %(state)s,
    %(restart_count)s, CASE WHEN %(process_id)s::bigint IS NOT NULL THEN clock_timestamp() END)
ON CONFLICT (gpu_id) DO UPDATE
SET tenant_id = excluded.tenant_id, model = excluded.model, launcher = excluded.launcher,
    isolation = excluded.isolation, process_id = excluded.process_id, state = excluded.state,
    restart_count = excluded.restart_count, update_time = now(),
    -- The same process as before began when it began.
    start_time = CASE WHEN workers.process_id = excluded.process_id THEN workers.start_time
                      ELSE excluded.start_time END

-- name: delete_workers_except
DELETE FROM workers WHERE gpu_id <> ALL (%(gpu_ids)s)

-- name: clear_drain_wish
UPDATE gpus SET drain_wish_time = NULL WHERE gpu_id = %(gpu_id)s AND drain_wish_time = %(drain_wish_time)s

-- name: insert_handover
INSERT INTO handovers (gpu_id, model, tenant_id, from_tenant_id, drain_seconds, cold_start_seconds)
VALUES (%(gpu_id)s, %(model)s, %(tenant_id)s, %(from_tenant_id)s, %(drain_seconds)s, %(cold_start_seconds)s)

-- name: newest_cold_starts
SELECT model, cold_start_seconds
FROM handovers
ORDER BY ready_time DESC
LIMIT %(limit)s

-- name: list_leaving
SELECT tenant_id FROM tenant_deletions WHERE end_time IS NULL AND clear_time IS NULL ORDER BY delete_time

-- name: mark_cleared
UPDATE tenant_deletions SET clear_time = now() WHERE tenant_id = %(tenant_id)s AND clear_time IS NULL

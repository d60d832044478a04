-- name: list_tenants
SELECT tenant_id, allowed_models, create_time
FROM tenants
WHERE state = 'ACTIVE'
ORDER BY create_time, tenant_id

-- name: count_backlog
-- Two partial indexes hold just these rows, however many images there were.
SELECT tenant_id, model, count(*) AS image_count
FROM (SELECT tenant_id, model FROM images WHERE state = 'QUEUED'
      UNION ALL
      SELECT tenant_id, model FROM images WHERE state = 'RUNNING') AS open_images
GROUP BY tenant_id, model

-- name: list_sessions
SELECT tenant_id, gpu_id, process_id, ready,
       lease_expire_time < clock_timestamp() - make_interval(secs => %(silence_seconds)s) AS silent
FROM worker_sessions
WHERE end_time IS NULL

-- name: write_worker
INSERT INTO workers (tenant_id, gpu_id, model, launcher, process_id, state, restart_count)
VALUES (%(tenant_id)s, %(gpu_id)s, %(model)s, %(launcher)s, %(process_id)s, %(state)s, %(restart_count)s)
ON CONFLICT (gpu_id) DO UPDATE
SET tenant_id = excluded.tenant_id, model = excluded.model, launcher = excluded.launcher,
    process_id = excluded.process_id, state = excluded.state,
    restart_count = excluded.restart_count, update_time = now()

-- name: delete_workers_except
DELETE FROM workers WHERE gpu_id <> ALL (%(gpu_ids)s)

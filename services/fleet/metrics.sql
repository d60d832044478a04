-- name: list_active_tenants
SELECT tenant_id FROM tenants WHERE state = 'ACTIVE'

-- name: list_oldest_queued
-- A partial index holds just these rows.
SELECT tenant_id, min(create_time) FROM images WHERE state = 'QUEUED' GROUP BY tenant_id

-- name: count_sessions
SELECT CASE WHEN lease_expire_time < clock_timestamp() - make_interval(secs => %(silence_seconds)s) THEN 'silent'
            WHEN ready THEN 'ready'
            ELSE 'preparing' END AS state, count(*)
FROM worker_sessions
WHERE end_time IS NULL
GROUP BY 1

-- name: look_at_server
SELECT current_setting('server_version') AS server_version, clock_timestamp() AS now,
    coalesce((SELECT extract(epoch FROM clock_timestamp() - min(transfers.create_time))
              FROM unsealed_transfers JOIN transfers USING (transfer_id)), 0)::double precision AS unsealed_seconds,
    coalesce((SELECT extract(epoch FROM clock_timestamp() - min(create_time)) FROM pictures WHERE store_time IS NULL),
             0)::double precision AS spooled_seconds,
    (SELECT count(*) FROM pictures WHERE store_time IS NULL) AS spooled_count

-- name: applied_migrations
SELECT number, sha256 FROM applied_migrations

-- name: connected_roles
SELECT DISTINCT usename::text FROM pg_stat_activity WHERE datname = current_database() AND usename IS NOT NULL

-- name: active_tenants
SELECT tenant_id FROM tenants WHERE state = 'ACTIVE' ORDER BY tenant_id

-- name: list_devices
SELECT gpu.gpu_id, gpu.display_name, gpu.kind,
    EXISTS (SELECT FROM workers WHERE workers.gpu_id = gpu.gpu_id) AS has_worker,
    reading.source,
    extract(epoch FROM clock_timestamp() - reading.last_read_time)::double precision AS reading_age_seconds,
    coalesce(sample.throttle_reasons, '{}') AS throttle_reasons
FROM gpus AS gpu
LEFT JOIN gpu_samples AS sample USING (gpu_id)
LEFT JOIN LATERAL (
    SELECT source, last_read_time FROM energy_readings
    WHERE energy_readings.gpu_id = gpu.gpu_id ORDER BY last_read_time DESC LIMIT 1
) AS reading ON true
WHERE gpu.in_inventory
ORDER BY gpu.gpu_id

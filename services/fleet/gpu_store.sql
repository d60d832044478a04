-- name: list_inventory
SELECT gpu_id, kind, device_uuid, display_name, memory_bytes
FROM gpus
WHERE in_inventory
ORDER BY gpu_id

-- name: upsert_gpu
INSERT INTO gpus (gpu_id, kind, device_uuid, display_name, memory_bytes, in_inventory, duty_cycle)
VALUES (%(gpu_id)s, %(kind)s, %(device_uuid)s, %(display_name)s, %(memory_bytes)s, true, %(duty_cycle)s)
ON CONFLICT (gpu_id) DO UPDATE
SET kind = excluded.kind, device_uuid = excluded.device_uuid, memory_bytes = excluded.memory_bytes,
    display_name = CASE WHEN excluded.display_name = '' THEN gpus.display_name ELSE excluded.display_name END,
    in_inventory = true, duty_cycle = excluded.duty_cycle

-- name: leave_inventory
UPDATE gpus SET in_inventory = false WHERE in_inventory AND gpu_id <> ALL (%(gpu_ids)s)

-- name: upsert_sample
INSERT INTO gpu_samples (gpu_id, temperature_celsius, power_watts, memory_used_bytes, utilization, clock_megahertz,
    throttle_reasons, sample_time)
VALUES (%(gpu_id)s, %(temperature_celsius)s, %(power_watts)s, %(memory_used_bytes)s, %(utilization)s,
    %(clock_megahertz)s, %(throttle_reasons)s, %(sample_time)s)
ON CONFLICT (gpu_id) DO UPDATE
SET temperature_celsius = excluded.temperature_celsius, power_watts = excluded.power_watts,
    memory_used_bytes = excluded.memory_used_bytes, utilization = excluded.utilization, clock_megahertz = excluded.clock_megahertz,
    throttle_reasons = excluded.throttle_reasons, sample_time = excluded.sample_time

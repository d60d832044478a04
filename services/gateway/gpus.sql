-- name: list_gpus
SELECT gpu.gpu_id, gpu.display_name, gpu.kind, gpu.device_uuid, gpu.memory_bytes, gpu.in_inventory, gpu.duty_cycle,
    CASE WHEN gpu.keep_empty_until > clock_timestamp() THEN gpu.keep_empty_until END AS keep_empty_until,
    sample.temperature_celsius, sample.power_watts, sample.memory_used_bytes, sample.utilization, sample.clock_megahertz,
    coalesce(sample.throttle_reasons, '{}') AS throttle_reasons, sample.sample_time,
    worker.tenant_id, worker.model,
    policy.gpu_id AS policy_gpu_id, policy.temperature_celsius_max, policy.duty_cycle_max,
    policy.update_time AS policy_update_time,
    (SELECT count(*)
     FROM worker_sessions AS session
     JOIN images USING (tenant_id, session_id)
     WHERE session.gpu_id = gpu.gpu_id AND session.end_time IS NULL AND images.state = 'RUNNING') AS running_image_count
FROM gpus AS gpu
LEFT JOIN gpu_samples AS sample USING (gpu_id)
LEFT JOIN workers AS worker USING (gpu_id)
LEFT JOIN LATERAL (
    SELECT * FROM power_policies WHERE power_policies.gpu_id IN (gpu.gpu_id, '-')
    -- Its own comes before that of all.
    ORDER BY power_policies.gpu_id = '-'
    LIMIT 1
) AS policy ON true
WHERE gpu.gpu_id > %(after)s AND (%(gpu_id)s::text IS NULL OR gpu.gpu_id = %(gpu_id)s)
    AND (gpu.in_inventory OR NOT %(in_inventory_only)s)
ORDER BY gpu.gpu_id
LIMIT %(limit)s;

-- name: list_workers
SELECT worker.gpu_id, worker.tenant_id, worker.model, worker.launcher, worker.isolation, worker.process_id, worker.state,
    worker.restart_count, worker.start_time, handover.cold_start_seconds, handover.drain_seconds,
    (SELECT count(*)
     FROM worker_sessions AS session
     JOIN images USING (tenant_id, session_id)
     WHERE session.gpu_id = worker.gpu_id AND session.tenant_id = worker.tenant_id AND session.end_time IS NULL
         AND images.state = 'RUNNING'
    ) AS running_image_count,
    (SELECT coalesce(jsonb_object_agg(refusal.reason, refusal.refused_count), '{}')
     FROM worker_refusals AS refusal
     WHERE refusal.tenant_id = worker.tenant_id) AS refusal_counts
FROM workers AS worker
LEFT JOIN LATERAL (
    SELECT cold_start_seconds, drain_seconds
    FROM handovers
    WHERE handovers.gpu_id = worker.gpu_id AND handovers.tenant_id = worker.tenant_id
        AND handovers.ready_time >= worker.start_time
    ORDER BY ready_time DESC
    LIMIT 1
) AS handover ON true
WHERE worker.gpu_id > %(after)s
ORDER BY worker.gpu_id
LIMIT %(limit)s;

-- name: wish_drain
UPDATE gpus
SET drain_wish_time = clock_timestamp(),
    keep_empty_until = CASE WHEN %(keep_empty_seconds)s > 0
                            THEN clock_timestamp() + make_interval(secs => %(keep_empty_seconds)s) END
WHERE gpu_id = %(gpu_id)s
RETURNING gpu_id;

-- name: has_gpu
SELECT 1 FROM gpus WHERE gpu_id = %(gpu_id)s;

-- name: upsert_power_policy
INSERT INTO power_policies (gpu_id, temperature_celsius_max, duty_cycle_max)
VALUES (%(gpu_id)s, %(temperature_celsius_max)s, %(duty_cycle_max)s)
ON CONFLICT (gpu_id) DO UPDATE
SET temperature_celsius_max = excluded.temperature_celsius_max, duty_cycle_max = excluded.duty_cycle_max,
    update_time = now()
RETURNING gpu_id, temperature_celsius_max, duty_cycle_max, update_time;

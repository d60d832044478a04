-- name: measurements
SELECT usage.model, usage.width, usage.height, usage.num_inference_steps, usage.energy_source,
    coalesce(nullif(gpus.display_name, ''), usage.gpu_id) AS device, count(*)::integer AS image_count,
    percentile_cont(0.5) WITHIN GROUP (
        ORDER BY extract(epoch FROM attempt.end_time - attempt.claim_time)::float8 - usage.queue_seconds
    ) AS seconds,
    percentile_disc(0.5) WITHIN GROUP (ORDER BY usage.energy_millijoules) AS energy_millijoules,
    max(usage.charge_time) AS measure_time, usage.precision
FROM (
    SELECT image_id, attempt, model, width, height, num_inference_steps, energy_source, gpu_id, queue_seconds,
        energy_millijoules, charge_time, precision
    FROM usage_records
    WHERE tenant_id = %(tenant_id)s AND outcome = 'SUCCEEDED' AND energy_source NOT IN ('PARTIAL', 'NONE')
    ORDER BY charge_time DESC, image_id DESC
    LIMIT %(images_max)s
) AS usage
JOIN attempts AS attempt USING (image_id, attempt)
LEFT JOIN gpus ON gpus.gpu_id = usage.gpu_id
GROUP BY usage.model, usage.width, usage.height, usage.num_inference_steps, usage.energy_source,
    coalesce(nullif(gpus.display_name, ''), usage.gpu_id), usage.precision
ORDER BY usage.model, image_count DESC, usage.width, usage.height, usage.num_inference_steps, device, usage.precision;

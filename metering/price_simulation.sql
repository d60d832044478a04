-- name: charged_facts
-- In the order they were charged, which is the order tiers of quantity count them in.
SELECT model, tier, width, height, num_inference_steps, gpu_seconds, energy_millijoules, energy_source
FROM usage_records
WHERE tenant_id = %(tenant_id)s AND outcome = 'SUCCEEDED'
    AND charge_time >= %(start_time)s AND charge_time < %(end_time)s
ORDER BY charge_time, image_id;

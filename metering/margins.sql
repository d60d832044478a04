-- name: sold_images
-- Days are those of the tenant's clock, as in its own reports.
SELECT used.tenant_id, used.job_id, used.image_id, (used.charge_time AT TIME ZONE tenant.time_zone)::date AS day,
    used.charge_time, used.currency, used.price_nanos, used.model, used.tier, used.width, used.height,
    used.num_inference_steps, used.gpu_seconds, used.energy_millijoules, used.energy_source
FROM shown_usage AS used
JOIN tenants AS tenant USING (tenant_id)
WHERE used.outcome = 'SUCCEEDED'
    AND used.charge_time >= %(start_time)s AND used.charge_time < %(end_time)s
    AND (%(tenant_id)s::text IS NULL OR used.tenant_id = %(tenant_id)s)
    AND (%(job_id)s::text IS NULL OR used.job_id = %(job_id)s);

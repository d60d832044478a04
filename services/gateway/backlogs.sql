-- name: waiting_images
-- Jobs in the order in which their next images are claimed.
SELECT job.job_id, job.tier, job.last_claim_time IS NOT NULL AS served, image.model, image.width, image.height,
    image.num_inference_steps, count(*)::integer AS image_count
FROM (
    SELECT job_id, tier, last_claim_time, create_time
    FROM jobs
    WHERE tenant_id = %(tenant_id)s AND queued_count > 0
    ORDER BY tier = 'INTERACTIVE' DESC, last_claim_time NULLS FIRST, create_time, job_id
    LIMIT %(limit)s
) AS job
JOIN images AS image ON image.job_id = job.job_id AND image.state = 'QUEUED'
GROUP BY job.job_id, job.tier, job.last_claim_time, job.create_time, image.model, image.width, image.height,
    image.num_inference_steps
ORDER BY job.tier = 'INTERACTIVE' DESC, job.last_claim_time NULLS FIRST, job.create_time, job.job_id;

-- name: running_images
SELECT image.job_id, image.tier, image.model, image.width, image.height, image.num_inference_steps,
    coalesce(progress.step, 0) AS step
FROM worker_sessions AS session
JOIN images AS image USING (tenant_id, session_id)
LEFT JOIN image_progress AS progress ON progress.image_id = image.image_id AND progress.attempt = image.attempt
WHERE session.tenant_id = %(tenant_id)s AND session.end_time IS NULL AND image.state = 'RUNNING';

-- name: recent_drawings
SELECT attempt.claim_time, attempt.end_time, usage.gpu_seconds, usage.queue_seconds, usage.batch_shares, usage.tier,
    usage.model, usage.width, usage.height, usage.num_inference_steps
FROM (
    SELECT image_id, attempt, gpu_seconds, queue_seconds, batch_shares, tier, model, width, height, num_inference_steps
    FROM usage_records
    WHERE tenant_id = %(tenant_id)s AND outcome = 'SUCCEEDED'
    ORDER BY charge_time DESC, image_id DESC
    LIMIT %(limit)s
) AS usage
JOIN attempts AS attempt USING (image_id, attempt)
WHERE attempt.end_time IS NOT NULL;

-- name: keep_first_estimates
INSERT INTO finish_estimates (tenant_id, job_id, estimated_finish_time, open_image_count)
SELECT %(tenant_id)s, estimate.job_id, estimate.finish_time, estimate.open_image_count
FROM unnest(%(job_ids)s::text[], %(finish_times)s::timestamptz[], %(open_image_counts)s::integer[])
    AS estimate (job_id, finish_time, open_image_count)
ON CONFLICT (job_id) DO NOTHING;

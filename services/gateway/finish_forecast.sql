-- name: waiting_jobs
-- In the order in which the next images are claimed; a job's first waiting image stands for all of its.
SELECT job.job_id, job.tier, job.queued_count, image.pixel_steps
FROM jobs AS job
CROSS JOIN LATERAL (
    SELECT width::bigint * height * num_inference_steps AS pixel_steps
    FROM images
    WHERE images.job_id = job.job_id AND state = 'QUEUED'
    LIMIT 1
) AS image
WHERE job.tenant_id = %(tenant_id)s AND job.queued_count > 0
ORDER BY job.tier = 'INTERACTIVE' DESC, job.last_claim_time NULLS FIRST, job.create_time, job.job_id
LIMIT %(limit)s;

-- name: running_pixel_steps
SELECT coalesce(sum(image.width::bigint * image.height * image.num_inference_steps), 0)::bigint
FROM worker_sessions AS session
JOIN images AS image USING (session_id)
WHERE session.tenant_id = %(tenant_id)s AND session.end_time IS NULL AND image.state = 'RUNNING';

-- name: recent_drawings
SELECT attempt.claim_time, attempt.end_time, usage.pixel_steps
FROM (
    SELECT image_id, attempt, width::bigint * height * num_inference_steps AS pixel_steps
    FROM usage_records
    WHERE tenant_id = %(tenant_id)s AND outcome = 'SUCCEEDED'
    ORDER BY charge_time DESC, image_id DESC
    LIMIT %(limit)s
) AS usage
JOIN attempts AS attempt USING (image_id, attempt)
WHERE attempt.end_time IS NOT NULL;

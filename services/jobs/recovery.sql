-- name: end_expired_sessions
UPDATE worker_sessions
SET end_time = clock_timestamp()
WHERE end_time IS NULL AND lease_expire_time < clock_timestamp()
    AND pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => %(lease_seconds)s);

-- name: lost_attempts
SELECT images.image_id, images.attempt, images.claim_token, images.lost_attempt_count,
    coalesce(attempts.began_step, false) AS began_step
FROM images
JOIN worker_sessions USING (tenant_id, session_id)
LEFT JOIN attempts ON attempts.image_id = images.image_id AND attempts.attempt = images.attempt
WHERE images.state = 'RUNNING' AND worker_sessions.end_time IS NOT NULL
ORDER BY images.job_id, images.image_id
LIMIT %(limit)s;

-- name: expired_images
SELECT image_id, job_id, state, attempt, claim_token
FROM images
WHERE deadline_time < clock_timestamp() AND state IN ('QUEUED', 'RUNNING')
ORDER BY job_id, image_id
LIMIT %(limit)s;

-- name: claimable_counts
SELECT tenant_id, model, count(*)::integer AS queued_count
FROM images
WHERE state = 'QUEUED'
GROUP BY tenant_id, model;

-- name: waiting_tokens
SELECT tenant_id, model, coalesce(sum(waiting_tokens), 0)::integer AS waiting_tokens
FROM worker_sessions
WHERE end_time IS NULL AND lease_expire_time > clock_timestamp()
GROUP BY tenant_id, model;

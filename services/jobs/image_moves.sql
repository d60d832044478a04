-- name: job_of_image
SELECT job_id FROM images WHERE image_id = %(image_id)s;

-- name: take_image
UPDATE images
SET state = 'RUNNING', attempt = attempt + 1, claim_token = %(claim_token)s, session_id = %(session_id)s,
    start_time = coalesce(start_time, now())
WHERE image_id = %(image_id)s AND state = 'QUEUED' AND attempt = %(attempt)s
RETURNING attempt;

-- name: leave_running
UPDATE images
SET state = %(to_state)s, claim_token = NULL, session_id = NULL,
    lost_attempt_count = lost_attempt_count + CASE WHEN %(lost)s THEN 1 ELSE 0 END,
    failure_reason = %(failure_reason)s, failure_message = %(failure_message)s,
    end_time = CASE WHEN %(to_state)s IN ('SUCCEEDED', 'FAILED', 'BLOCKED', 'CANCELLED') THEN clock_timestamp() END
WHERE image_id = %(image_id)s AND state = 'RUNNING' AND attempt = %(attempt)s AND claim_token = %(claim_token)s
RETURNING tenant_id, job_id, image_id, tier, model, width, height, num_inference_steps, seed, attempt,
    hold_transfer_id, hold_nanos;

-- name: leave_queued
UPDATE images
SET state = %(to_state)s, failure_reason = %(failure_reason)s, failure_message = %(failure_message)s,
    end_time = clock_timestamp()
WHERE job_id = %(job_id)s AND image_id = ANY(%(image_ids)s) AND state = 'QUEUED'
RETURNING tenant_id, job_id, image_id, tier, model, width, height, num_inference_steps, seed, attempt,
    hold_transfer_id, hold_nanos;

-- name: begin_attempt
INSERT INTO attempts (tenant_id, image_id, attempt, job_id, session_id, claim_token, gpu_id, model)
VALUES (%(tenant_id)s, %(image_id)s, %(attempt)s, %(job_id)s, %(session_id)s, %(claim_token)s, %(gpu_id)s, %(model)s);

-- name: end_attempt
UPDATE attempts
SET outcome = %(outcome)s, end_time = clock_timestamp(), began_step = began_step OR %(began_step)s,
    last_mark_number = %(last_mark_number)s, gpu_seconds = %(gpu_seconds)s, queue_seconds = %(queue_seconds)s
WHERE image_id = %(image_id)s AND attempt = %(attempt)s AND claim_token = %(claim_token)s AND outcome IS NULL;

-- name: outcome_of_attempt
SELECT attempts.outcome, images.state
FROM attempts JOIN images USING (image_id)
WHERE attempts.image_id = %(image_id)s AND attempts.attempt = %(attempt)s
    AND attempts.claim_token = %(claim_token)s;

-- name: forget_progress
DELETE FROM image_progress WHERE image_id = ANY(%(image_ids)s);

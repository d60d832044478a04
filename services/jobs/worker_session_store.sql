-- name: upsert_session
INSERT INTO worker_sessions (tenant_id, session_id, gpu_id, model, process_id, ready, waiting_tokens, batch_slots_free,
    interactive_slots_free, engine_step_counter, lease_expire_time)
VALUES (%(tenant_id)s, %(session_id)s, %(gpu_id)s, %(model)s, %(process_id)s, %(ready)s, %(waiting_tokens)s,
    %(batch_slots_free)s, %(interactive_slots_free)s, %(engine_step_counter)s,
    clock_timestamp() + make_interval(secs => %(lease_seconds)s))
ON CONFLICT (tenant_id, session_id) DO UPDATE
SET ready = excluded.ready, waiting_tokens = excluded.waiting_tokens, batch_slots_free = excluded.batch_slots_free,
    interactive_slots_free = excluded.interactive_slots_free, engine_step_counter = excluded.engine_step_counter,
    -- A session that was given up for lost and comes back goes on; its lost attempts do not.
    end_time = NULL, lease_expire_time = excluded.lease_expire_time
RETURNING lease_expire_time,
    coalesce((SELECT duty_cycle FROM gpus WHERE gpus.gpu_id = worker_sessions.gpu_id), 1) AS duty_cycle;

-- name: get_session
SELECT lease_expire_time,
    coalesce((SELECT duty_cycle FROM gpus WHERE gpus.gpu_id = worker_sessions.gpu_id), 1) AS duty_cycle
FROM worker_sessions
WHERE tenant_id = %(tenant_id)s AND session_id = %(session_id)s;

-- name: upsert_progress
INSERT INTO image_progress (tenant_id, image_id, job_id, attempt, step, step_count, preview)
SELECT images.tenant_id, images.image_id, images.job_id, images.attempt, report.step, report.step_count, report.preview
FROM unnest(%(image_ids)s::text[], %(attempts)s::integer[], %(claim_tokens)s::uuid[], %(steps)s::integer[],
    %(step_counts)s::integer[], %(previews)s::bytea[]) AS report (image_id, attempt, claim_token, step, step_count, preview)
JOIN images ON images.image_id = report.image_id AND images.attempt = report.attempt
    AND images.claim_token = report.claim_token AND images.state = 'RUNNING'
ORDER BY images.image_id
ON CONFLICT (image_id) DO UPDATE
SET attempt = excluded.attempt, step = excluded.step, step_count = excluded.step_count,
    preview = coalesce(excluded.preview, image_progress.preview), update_time = clock_timestamp()
WHERE (image_progress.attempt, image_progress.step) < (excluded.attempt, excluded.step);

-- name: note_begun_steps
UPDATE attempts
SET began_step = true
WHERE claim_token = ANY(%(claim_tokens)s::uuid[]) AND NOT began_step AND outcome IS NULL;

-- name: valid_attempts
SELECT image_id, attempt, claim_token, cancel_wish_time IS NOT NULL AS cancel_wished
FROM images
WHERE tenant_id = %(tenant_id)s AND session_id = %(session_id)s AND state = 'RUNNING';

-- name: unheld_attempts
SELECT images.image_id, images.attempt, images.claim_token
FROM images JOIN attempts USING (image_id, attempt)
WHERE images.tenant_id = %(tenant_id)s AND images.session_id = %(session_id)s AND images.state = 'RUNNING'
    AND images.claim_token <> ALL(%(claim_tokens)s::uuid[])
    AND attempts.claim_time < clock_timestamp() - make_interval(secs => %(age_seconds)s);

-- name: count_waiting_interactive
SELECT count(*)
FROM jobs JOIN images USING (job_id)
WHERE jobs.tenant_id = %(tenant_id)s AND jobs.queued_count > 0 AND jobs.tier = 'INTERACTIVE'
    AND images.state = 'QUEUED' AND images.model = %(model)s;

-- name: count_waiting_alone
-- Waiting begins with the loss: being handed back by a worker that drains does not begin it anew.
SELECT count(*)::integer AS image_count,
    coalesce(bool_or(lost.end_time < clock_timestamp() - make_interval(secs => %(patience_seconds)s)), false) AS overdue
FROM images
CROSS JOIN LATERAL (
    SELECT max(end_time) AS end_time FROM attempts WHERE attempts.image_id = images.image_id AND outcome = 'LOST'
) AS lost
WHERE tenant_id = %(tenant_id)s AND model = %(model)s AND state = 'QUEUED' AND lost_attempt_count > 0;

-- name: end_session
UPDATE worker_sessions
SET end_time = clock_timestamp(), ready = false
WHERE session_id = %(session_id)s AND end_time IS NULL;

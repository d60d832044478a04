-- name: insert_job
-- With its first event. Nobody is notified: before this commits nobody knows the job's id, and a NOTIFY would let the
-- commits of all tenants pass one by one.
WITH job AS (
    INSERT INTO jobs (tenant_id, job_id, state, display_name, tier, project, labels, key_id, price_id, currency,
        hold_nanos, max_cost_nanos, retry_of, deadline_time, image_count, queued_count, last_event_number)
    VALUES (%(tenant_id)s, %(job_id)s, 'QUEUED', %(display_name)s, %(tier)s, %(project)s, %(labels)s, %(key_id)s,
        %(price_id)s, %(currency)s, %(hold_nanos)s, %(max_cost_nanos)s, %(retry_of)s, %(deadline_time)s,
        %(image_count)s, %(image_count)s, 1)
    RETURNING *
), first_event AS (
    INSERT INTO job_events (tenant_id, job_id, event_number, kind, job_state)
    SELECT tenant_id, job_id, last_event_number, 'JOB_STATE', state
    FROM job
)
SELECT tenant_id, job_id, state, display_name, tier, project, labels, key_id, price_id, currency, hold_nanos,
    max_cost_nanos, retry_of, deadline_time, cancel_wish_time, create_time, start_time, end_time, last_event_number,
    queued_count, running_count, quarantined_count, succeeded_count, failed_count, blocked_count, cancelled_count
FROM job;

-- name: insert_images
-- A thousand at once: one statement, and the planner's and the wire's work once.
INSERT INTO images (tenant_id, job_id, image_id, image_number, state, tier, model, prompt, negative_prompt, width,
    height, num_inference_steps, guidance_scale, seed, max_sequence_length, output_format, output_quality, labels,
    client_ref, hold_nanos, deadline_time, traceparent)
SELECT %(tenant_id)s, %(job_id)s, image.image_id, image.image_number, 'QUEUED', %(tier)s, image.model, image.prompt,
    image.negative_prompt, image.width, image.height, image.num_inference_steps, image.guidance_scale, image.seed,
    image.max_sequence_length, image.output_format, image.output_quality, image.labels, image.client_ref,
    image.hold_nanos, %(deadline_time)s, %(traceparent)s
FROM jsonb_to_recordset(%(images)s) AS image (image_id text, image_number integer, model text, prompt text,
    negative_prompt text, width integer, height integer, num_inference_steps integer, guidance_scale double precision,
    seed numeric, max_sequence_length integer, output_format text, output_quality integer, labels jsonb, client_ref text,
    hold_nanos bigint);

-- name: link_holds
UPDATE images
SET hold_transfer_id = hold.transfer_id
FROM unnest(%(image_ids)s::text[], %(transfer_ids)s::bigint[]) AS hold (image_id, transfer_id)
WHERE images.image_id = hold.image_id;

-- name: count_queued_images
SELECT coalesce(sum(queued_count), 0)::bigint
FROM jobs
WHERE tenant_id = %(tenant_id)s AND queued_count > 0;

-- name: get_job
SELECT tenant_id, job_id, state, display_name, tier, project, labels, key_id, price_id, currency, hold_nanos,
    max_cost_nanos, retry_of, deadline_time, cancel_wish_time, create_time, start_time, end_time, last_event_number,
    queued_count, running_count, quarantined_count, succeeded_count, failed_count, blocked_count, cancelled_count
FROM jobs
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s;

-- name: list_jobs
SELECT tenant_id, job_id, state, display_name, tier, project, labels, key_id, price_id, currency, hold_nanos,
    max_cost_nanos, retry_of, deadline_time, cancel_wish_time, create_time, start_time, end_time, last_event_number,
    queued_count, running_count, quarantined_count, succeeded_count, failed_count, blocked_count, cancelled_count
FROM jobs
WHERE tenant_id = %(tenant_id)s
    AND (%(before_time)s::timestamptz IS NULL
         OR (create_time, job_id) < (%(before_time)s::timestamptz, %(before_job_id)s))
    AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s))
    AND (%(project)s::text IS NULL OR project = %(project)s)
    AND labels @> %(labels)s
    AND (%(start_time)s::timestamptz IS NULL OR create_time >= %(start_time)s)
    AND (%(end_time)s::timestamptz IS NULL OR create_time < %(end_time)s)
ORDER BY create_time DESC, job_id DESC
LIMIT %(limit)s;

-- name: list_images
SELECT image.tenant_id, image.job_id, image.image_id, image.image_number, image.state, image.tier, image.labels,
    image.client_ref, image.attempt, image.lost_attempt_count, image.hold_nanos, image.cancel_wish_time,
    image.failure_reason, image.failure_message, image.create_time, image.start_time, image.end_time,
    jsonb_build_object('model', image.model, 'prompt', image.prompt, 'negative_prompt', image.negative_prompt,
        'width', image.width, 'height', image.height, 'num_inference_steps', image.num_inference_steps,
        'guidance_scale', image.guidance_scale, 'seed', image.seed,
        'max_sequence_length', image.max_sequence_length, 'output_format', image.output_format,
        'output_quality', image.output_quality) AS spec,
    CASE WHEN picture.image_id IS NOT NULL THEN
        jsonb_build_object('sha256', picture.sha256, 'byte_count', picture.byte_count,
            'content_type', picture.content_type, 'object_path', picture.object_path,
            'spool_name', picture.spool_name, 'store_time', picture.store_time) END AS picture
FROM images AS image
LEFT JOIN pictures AS picture USING (image_id)
WHERE image.tenant_id = %(tenant_id)s AND image.job_id = %(job_id)s AND image.image_number > %(after_number)s
    AND (%(states)s::text[] IS NULL OR image.state = ANY(%(states)s))
    AND (%(client_ref)s::text IS NULL OR image.client_ref = %(client_ref)s)
    AND image.labels @> %(labels)s
    AND (%(image_ids)s::text[] IS NULL OR image.image_id = ANY(%(image_ids)s))
ORDER BY image.image_number
LIMIT %(limit)s;

-- name: get_image
SELECT image.tenant_id, image.job_id, image.image_id, image.image_number, image.state, image.tier, image.labels,
    image.client_ref, image.attempt, image.lost_attempt_count, image.hold_nanos, image.cancel_wish_time,
    image.failure_reason, image.failure_message, image.create_time, image.start_time, image.end_time,
    jsonb_build_object('model', image.model, 'prompt', image.prompt, 'negative_prompt', image.negative_prompt,
        'width', image.width, 'height', image.height, 'num_inference_steps', image.num_inference_steps,
        'guidance_scale', image.guidance_scale, 'seed', image.seed,
        'max_sequence_length', image.max_sequence_length, 'output_format', image.output_format,
        'output_quality', image.output_quality) AS spec,
    CASE WHEN picture.image_id IS NOT NULL THEN
        jsonb_build_object('sha256', picture.sha256, 'byte_count', picture.byte_count,
            'content_type', picture.content_type, 'object_path', picture.object_path,
            'spool_name', picture.spool_name, 'store_time', picture.store_time) END AS picture
FROM images AS image
LEFT JOIN pictures AS picture USING (image_id)
WHERE image.tenant_id = %(tenant_id)s AND image.job_id = %(job_id)s AND image.image_id = %(image_id)s;

-- name: events_after
SELECT job_id, event_number, kind, job_state, image_id, image_state, create_time
FROM job_events
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s AND event_number > %(event_number)s
ORDER BY event_number
LIMIT %(limit)s;

-- name: progress_of_job
SELECT image_id, attempt, step, step_count, preview, update_time
FROM image_progress
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s
    AND (%(after_time)s::timestamptz IS NULL OR update_time > %(after_time)s)
ORDER BY update_time;

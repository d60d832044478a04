-- name: lock_live_session
SELECT session_id
FROM worker_sessions
WHERE session_id = %(session_id)s AND end_time IS NULL AND ready
    AND lease_expire_time > clock_timestamp()
FOR SHARE;

-- name: best_image
-- An image that must run alone goes first in its tier: its worker has emptied itself for it. One that has waited too
-- long goes first of all.
SELECT image_id, job_id, attempt
FROM (
    (
        SELECT image_id, images.job_id, attempt, tier, true AS alone,
            coalesce(lost.end_time < clock_timestamp() - make_interval(secs => %(patience_seconds)s), false) AS overdue
        FROM images
        CROSS JOIN LATERAL (
            SELECT max(end_time) AS end_time FROM attempts WHERE attempts.image_id = images.image_id AND outcome = 'LOST'
        ) AS lost
        WHERE tenant_id = %(tenant_id)s AND model = %(model)s AND state = 'QUEUED' AND lost_attempt_count > 0
            AND %(nothing_in_flight)s AND (tier = 'INTERACTIVE' OR NOT %(interactive_only)s)
        ORDER BY overdue DESC, tier = 'INTERACTIVE' DESC, create_time, image_id
        LIMIT 1
    )
    UNION ALL
    (
        SELECT image.image_id, image.job_id, image.attempt, job.tier, false AS alone, false AS overdue
        FROM jobs AS job
        CROSS JOIN LATERAL (
            SELECT image_id, job_id, attempt
            FROM images
            WHERE images.job_id = job.job_id AND state = 'QUEUED' AND model = %(model)s AND lost_attempt_count = 0
            ORDER BY image_number
            LIMIT 1
        ) AS image
        WHERE job.tenant_id = %(tenant_id)s AND job.queued_count > 0
            AND (job.tier = 'INTERACTIVE' OR NOT %(interactive_only)s)
        ORDER BY job.tier = 'INTERACTIVE' DESC, job.last_claim_time NULLS FIRST, job.create_time, job.job_id
        LIMIT 1
    )
) AS candidate
ORDER BY overdue DESC, tier = 'INTERACTIVE' DESC, alone DESC
LIMIT 1;

-- name: get_claimed
SELECT job_id, tier, traceparent, lost_attempt_count > 0 AS alone,
    jsonb_build_object('model', model, 'prompt', prompt, 'negative_prompt', negative_prompt, 'width', width,
        'height', height, 'num_inference_steps', num_inference_steps, 'guidance_scale', guidance_scale, 'seed', seed,
        'max_sequence_length', max_sequence_length, 'output_format', output_format,
        'output_quality', output_quality) AS spec
FROM images
WHERE image_id = %(image_id)s;

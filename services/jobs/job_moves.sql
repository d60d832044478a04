-- name: lock_job
SELECT tenant_id, job_id, state, tier, key_id, project, price_id, currency, start_time, cancel_wish_time,
    last_event_number, queued_count, running_count, quarantined_count, succeeded_count, failed_count, blocked_count,
    cancelled_count
FROM jobs
WHERE job_id = %(job_id)s
FOR NO KEY UPDATE;

-- name: update_job
UPDATE jobs
SET state = %(state)s,
    queued_count = %(queued_count)s, running_count = %(running_count)s, quarantined_count = %(quarantined_count)s,
    succeeded_count = %(succeeded_count)s, failed_count = %(failed_count)s, blocked_count = %(blocked_count)s,
    cancelled_count = %(cancelled_count)s,
    last_event_number = %(last_event_number)s,
    start_time = CASE WHEN %(started)s THEN coalesce(start_time, clock_timestamp()) END,
    end_time = CASE WHEN %(ended)s THEN coalesce(end_time, clock_timestamp()) END,
    last_claim_time = CASE WHEN %(claimed)s THEN clock_timestamp() ELSE last_claim_time END
WHERE job_id = %(job_id)s;

-- name: insert_events
INSERT INTO job_events (tenant_id, job_id, event_number, kind, job_state, image_id, image_state)
SELECT %(tenant_id)s, %(job_id)s, event.event_number, event.kind, %(job_state)s, event.image_id, event.image_state
FROM unnest(%(event_numbers)s::bigint[], %(kinds)s::text[], %(image_ids)s::text[], %(image_states)s::text[])
    AS event (event_number, kind, image_id, image_state);

-- name: notify_workers
SELECT pg_notify('atelier_workers', %(tenant_id)s);

-- name: notify_watchers
SELECT pg_notify('atelier_jobs', %(job_id)s);

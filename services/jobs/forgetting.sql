-- name: kept_pictures
SELECT image_id, object_path
FROM pictures
WHERE tenant_id = %(tenant_id)s AND store_time IS NOT NULL
ORDER BY image_id
LIMIT %(limit)s;

-- name: forget_pictures
DELETE FROM pictures WHERE tenant_id = %(tenant_id)s AND image_id = ANY (%(image_ids)s);

-- name: choose_jobs
SELECT job_id
FROM jobs
WHERE tenant_id = %(tenant_id)s AND forget_time IS NULL
ORDER BY job_id
LIMIT %(limit)s
FOR NO KEY UPDATE;

-- name: forget_images
-- Written over without being read: the role may not.
UPDATE images
SET prompt = '', negative_prompt = '', labels = '{}', client_ref = NULL, failure_message = NULL, traceparent = ''
WHERE tenant_id = %(tenant_id)s AND job_id = ANY (%(job_ids)s);

-- name: forget_events
DELETE FROM job_events WHERE tenant_id = %(tenant_id)s AND job_id = ANY (%(job_ids)s);

-- name: forget_progress
DELETE FROM image_progress WHERE tenant_id = %(tenant_id)s AND job_id = ANY (%(job_ids)s);

-- name: forget_attendance
DELETE FROM job_attendance WHERE tenant_id = %(tenant_id)s AND job_id = ANY (%(job_ids)s);

-- name: mark_jobs
UPDATE jobs
SET display_name = '', project = '', labels = '{}', forget_time = now()
WHERE tenant_id = %(tenant_id)s AND job_id = ANY (%(job_ids)s);

-- name: forget_requests
DELETE FROM requests
WHERE tenant_id = %(tenant_id)s AND request_id IN (
    SELECT request_id FROM requests WHERE tenant_id = %(tenant_id)s LIMIT %(limit)s);

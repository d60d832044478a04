-- name: wish_cancel
UPDATE jobs SET cancel_wish_time = coalesce(cancel_wish_time, clock_timestamp()) WHERE job_id = %(job_id)s;

-- name: wish_cancel_of_running
UPDATE images SET cancel_wish_time = coalesce(cancel_wish_time, clock_timestamp())
WHERE job_id = %(job_id)s AND state = 'RUNNING';

-- name: queued_images
SELECT image_id FROM images WHERE job_id = %(job_id)s AND state = 'QUEUED' ORDER BY image_id;

-- name: attend
INSERT INTO job_attendance (tenant_id, job_id, attend_time)
VALUES (%(tenant_id)s, %(job_id)s, clock_timestamp())
ON CONFLICT (job_id) DO UPDATE SET attend_time = clock_timestamp();

-- name: unattended_jobs
SELECT attendance.job_id
FROM job_attendance AS attendance
JOIN jobs USING (job_id)
WHERE attendance.attend_time < clock_timestamp() - make_interval(secs => %(seconds)s)
    AND jobs.end_time IS NULL AND jobs.cancel_wish_time IS NULL
ORDER BY attendance.job_id
LIMIT %(limit)s;

-- name: forget_old_attendance
DELETE FROM job_attendance AS attendance
USING jobs
WHERE jobs.job_id = attendance.job_id AND jobs.end_time IS NOT NULL
    AND attendance.attend_time < clock_timestamp() - make_interval(secs => %(seconds)s);

-- name: sum_overhead
-- By when an attempt ended, on the tenant's clock. A dimension that is not asked for is NULL in every row.
SELECT
    CASE WHEN %(by_day)s THEN (attempt.end_time AT TIME ZONE %(time_zone)s)::date END AS day,
    CASE WHEN %(by_model)s THEN attempt.model END AS model,
    CASE WHEN %(by_job)s THEN attempt.job_id END AS job_id,
    sum(share.millijoules)::bigint AS millijoules
FROM attempts AS attempt
JOIN jobs AS job USING (tenant_id, job_id)
JOIN energy_shares AS share USING (tenant_id, image_id, attempt)
WHERE attempt.tenant_id = %(tenant_id)s
    AND attempt.outcome IN ('FAILED', 'BLOCKED', 'CANCELLED', 'HANDED_BACK', 'LOST', 'EXPIRED')
    AND attempt.end_time >= coalesce(%(start_time)s, '-infinity'::timestamptz)
    AND attempt.end_time < coalesce(%(end_time)s, 'infinity'::timestamptz)
    AND (%(model)s::text IS NULL OR attempt.model = %(model)s)
    AND (%(job_id)s::text IS NULL OR attempt.job_id = %(job_id)s)
    AND (%(key_id)s::text IS NULL OR job.key_id = %(key_id)s)
    AND (%(project)s::text IS NULL OR job.project = %(project)s)
GROUP BY 1, 2, 3;

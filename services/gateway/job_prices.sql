-- name: prices_of_jobs
SELECT job_id, sum(price_nanos)::bigint AS price_nanos
FROM usage_records
WHERE tenant_id = %(tenant_id)s AND job_id = ANY(%(job_ids)s)
GROUP BY job_id;

-- name: add_refusals
INSERT INTO worker_refusals (tenant_id, reason, refused_count)
SELECT %(tenant_id)s, refusal.reason, refusal.refused_count
FROM unnest(%(reasons)s::text[], %(counts)s::bigint[]) AS refusal (reason, refused_count)
ORDER BY refusal.reason
ON CONFLICT (tenant_id, reason) DO UPDATE
SET refused_count = worker_refusals.refused_count + excluded.refused_count, update_time = clock_timestamp();

-- name: add_broker_keys
INSERT INTO worker_refusals (tenant_id, reason, refused_count)
SELECT tenant.id, 'BROKER_KEYS', tenant.broker_count
FROM unnest(%(tenant_ids)s::text[], %(counts)s::bigint[]) AS tenant (id, broker_count)
ORDER BY tenant.id
ON CONFLICT (tenant_id, reason) DO UPDATE
SET refused_count = worker_refusals.refused_count + excluded.refused_count, update_time = clock_timestamp();

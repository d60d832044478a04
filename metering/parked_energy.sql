-- name: store_parked
INSERT INTO parked_hours (tenant_id, gpu_id, hour_start_time, source, millijoules)
VALUES (%(tenant_id)s, %(gpu_id)s, %(hour_start_time)s, %(source)s, %(millijoules)s)
ON CONFLICT (tenant_id, hour_start_time, gpu_id, source) DO UPDATE SET millijoules = excluded.millijoules;

-- name: read_parked
SELECT coalesce(sum(millijoules) FILTER (WHERE source <> 'ESTIMATED'), 0)::bigint AS measured_millijoules,
    coalesce(sum(millijoules) FILTER (WHERE source = 'ESTIMATED'), 0)::bigint AS estimated_millijoules
FROM parked_hours
WHERE tenant_id = %(tenant_id)s AND hour_start_time >= %(start_time)s AND hour_start_time < %(end_time)s;

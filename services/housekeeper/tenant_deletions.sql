-- name: count_left
-- A job without its mark has images with prompts, which this role may not read.
SELECT 'pictures', count(*) FROM pictures WHERE tenant_id = %(tenant_id)s
UNION ALL
SELECT 'jobs', count(*) FROM jobs WHERE tenant_id = %(tenant_id)s AND forget_time IS NULL
UNION ALL
SELECT 'usage_words', count(*) FROM usage_records
WHERE tenant_id = %(tenant_id)s AND (labels <> '{}' OR project <> '')
UNION ALL
SELECT 'roll_up_words', count(*) FROM usage_roll_ups
WHERE tenant_id = %(tenant_id)s AND (label_key <> '' OR label_value <> '' OR project <> '')
UNION ALL
SELECT 'budgets', count(*) FROM budgets WHERE tenant_id = %(tenant_id)s
UNION ALL
SELECT 'requests', count(*) FROM requests WHERE tenant_id = %(tenant_id)s
UNION ALL
SELECT 'keys', count(*) FROM api_keys WHERE tenant_id = %(tenant_id)s
UNION ALL
SELECT 'bindings', count(*) FROM identity_bindings WHERE tenant_id = %(tenant_id)s
UNION ALL
SELECT 'workers', count(*) FROM worker_sessions
WHERE tenant_id = %(tenant_id)s AND end_time IS NULL AND lease_expire_time > clock_timestamp()
UNION ALL
SELECT 'hosts', count(*) FROM tenant_deletions
WHERE tenant_id = %(tenant_id)s AND clear_time IS NULL AND %(waits_for_fleet)s;

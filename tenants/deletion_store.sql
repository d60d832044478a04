-- name: lock_tenant_alone
SELECT FROM tenants WHERE tenant_id = %(tenant_id)s FOR UPDATE;

-- name: let_leave
UPDATE tenants SET state = 'DELETING', update_time = now() WHERE tenant_id = %(tenant_id)s;

-- name: revoke_keys
UPDATE api_keys SET revoke_time = coalesce(revoke_time, now()) WHERE tenant_id = %(tenant_id)s;

-- name: insert_deletion
INSERT INTO tenant_deletions (tenant_id) VALUES (%(tenant_id)s);

-- name: open_deletions
SELECT tenant_id, delete_time, clear_time
FROM tenant_deletions
WHERE end_time IS NULL AND delete_time <= clock_timestamp() - make_interval(secs => %(grace_seconds)s)
ORDER BY delete_time;

-- name: forget_keys
DELETE FROM api_keys WHERE tenant_id = %(tenant_id)s;

-- name: forget_bindings
DELETE FROM identity_bindings WHERE tenant_id = %(tenant_id)s;

-- name: become_tombstone
UPDATE tenants
SET state = 'DELETED', display_name = tenant_id, legal_name = '', postal_address = '', vat_id = '', update_time = now()
WHERE tenant_id = %(tenant_id)s;

-- name: end_deletion
UPDATE tenant_deletions SET end_time = now() WHERE tenant_id = %(tenant_id)s;

-- name: present_key_id
SELECT set_config('atelier.key_id', %(key_id)s, true);

-- name: find_key
SELECT tenant_id, key_id, display_name, role, project, secret_hmac, old_secret_hmac, old_secret_expire_time, rotate_time,
    allowed_networks, create_time, expire_time, revoke_time
FROM api_keys
WHERE key_id = %(key_id)s;

-- name: lock_key
SELECT tenant_id, key_id, display_name, role, project, secret_hmac, old_secret_hmac, old_secret_expire_time, rotate_time,
    allowed_networks, create_time, expire_time, revoke_time
FROM api_keys
WHERE tenant_id = %(tenant_id)s AND key_id = %(key_id)s
FOR NO KEY UPDATE;

-- name: insert_key
INSERT INTO api_keys (tenant_id, key_id, display_name, role, project, secret_hmac, allowed_networks, expire_time)
VALUES (%(tenant_id)s, %(key_id)s, %(display_name)s, %(role)s, %(project)s, %(secret_hmac)s,
    %(allowed_networks)s::cidr[], %(expire_time)s)
RETURNING tenant_id, key_id, display_name, role, project, secret_hmac, old_secret_hmac, old_secret_expire_time,
    rotate_time, allowed_networks, create_time, expire_time, revoke_time;

-- name: list_keys
SELECT tenant_id, key_id, display_name, role, project, secret_hmac, old_secret_hmac, old_secret_expire_time, rotate_time,
    allowed_networks, create_time, expire_time, revoke_time
FROM api_keys
WHERE tenant_id = %(tenant_id)s
    AND (%(before_time)s::timestamptz IS NULL
         OR (create_time, key_id) < (%(before_time)s, %(before_key_id)s::text))
ORDER BY create_time DESC, key_id DESC
LIMIT %(limit)s;

-- name: rotate_key
UPDATE api_keys
SET secret_hmac = %(secret_hmac)s,
    old_secret_hmac = CASE WHEN %(old_secret_expire_time)s::timestamptz IS NOT NULL THEN secret_hmac END,
    old_secret_expire_time = %(old_secret_expire_time)s,
    rotate_time = now()
WHERE tenant_id = %(tenant_id)s AND key_id = %(key_id)s
RETURNING tenant_id, key_id, display_name, role, project, secret_hmac, old_secret_hmac, old_secret_expire_time,
    rotate_time, allowed_networks, create_time, expire_time, revoke_time;

-- name: revoke_key
UPDATE api_keys
SET revoke_time = coalesce(revoke_time, now())
WHERE tenant_id = %(tenant_id)s AND key_id = %(key_id)s
RETURNING tenant_id, key_id, display_name, role, project, secret_hmac, old_secret_hmac, old_secret_expire_time,
    rotate_time, allowed_networks, create_time, expire_time, revoke_time;

-- name: tell_gateways
SELECT pg_notify('atelier_keys', %(subject)s);

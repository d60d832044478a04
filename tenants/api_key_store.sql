-- name: present_key_id
SELECT set_config('atelier.key_id', %(key_id)s, true);

-- name: find_key
SELECT tenant_id, key_id, display_name, role, project, secret_hmac, create_time, expire_time, revoke_time
FROM api_keys
WHERE key_id = %(key_id)s;

-- name: insert_key
INSERT INTO api_keys (tenant_id, key_id, display_name, role, project, secret_hmac, expire_time)
VALUES (%(tenant_id)s, %(key_id)s, %(display_name)s, %(role)s, %(project)s, %(secret_hmac)s, %(expire_time)s)
RETURNING tenant_id, key_id, display_name, role, project, secret_hmac, create_time, expire_time, revoke_time;

-- name: list_keys
SELECT tenant_id, key_id, display_name, role, project, secret_hmac, create_time, expire_time, revoke_time
FROM api_keys
WHERE tenant_id = %(tenant_id)s
    AND (%(before_time)s::timestamptz IS NULL
         OR (create_time, key_id) < (%(before_time)s, %(before_key_id)s::text))
ORDER BY create_time DESC, key_id DESC
LIMIT %(limit)s;

-- name: revoke_key
UPDATE api_keys
SET revoke_time = coalesce(revoke_time, now())
WHERE tenant_id = %(tenant_id)s AND key_id = %(key_id)s
RETURNING tenant_id, key_id, display_name, role, project, secret_hmac, create_time, expire_time, revoke_time;

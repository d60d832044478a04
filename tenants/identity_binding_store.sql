-- name: present_identity_keys
SELECT set_config('atelier.identity_keys', %(identity_keys)s, true);

-- name: find_bindings
SELECT tenant_id, binding_id, issuer, claim, claim_value, role, project, display_name, allowed_networks, create_time
FROM identity_bindings
WHERE identity_key = ANY (current_identity_keys());

-- name: insert_binding
INSERT INTO identity_bindings (tenant_id, binding_id, identity_key, issuer, claim, claim_value, role, project,
    display_name, allowed_networks)
VALUES (%(tenant_id)s, %(binding_id)s, %(identity_key)s, %(issuer)s, %(claim)s, %(claim_value)s, %(role)s, %(project)s,
    %(display_name)s, %(allowed_networks)s::cidr[])
ON CONFLICT (identity_key) DO NOTHING
RETURNING tenant_id, binding_id, issuer, claim, claim_value, role, project, display_name, allowed_networks, create_time;

-- name: get_binding
SELECT tenant_id, binding_id, issuer, claim, claim_value, role, project, display_name, allowed_networks, create_time
FROM identity_bindings
WHERE tenant_id = %(tenant_id)s AND binding_id = %(binding_id)s;

-- name: list_bindings
SELECT tenant_id, binding_id, issuer, claim, claim_value, role, project, display_name, allowed_networks, create_time
FROM identity_bindings
WHERE tenant_id = %(tenant_id)s
    AND (%(before_time)s::timestamptz IS NULL
         OR (create_time, binding_id) < (%(before_time)s, %(before_binding_id)s::text))
ORDER BY create_time DESC, binding_id DESC
LIMIT %(limit)s;

-- name: delete_binding
DELETE FROM identity_bindings
WHERE tenant_id = %(tenant_id)s AND binding_id = %(binding_id)s
RETURNING tenant_id, binding_id, issuer, claim, claim_value, role, project, display_name, allowed_networks, create_time;

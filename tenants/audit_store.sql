-- name: insert_event
INSERT INTO audit_events (tenant_id, caller_tenant_id, key_id, role, issuer, subject, address, method, resource_name,
    changed_fields, request_id, code, reason, omitted_count)
VALUES (%(tenant_id)s, %(caller_tenant_id)s, %(key_id)s, %(role)s, %(issuer)s, %(subject)s, %(address)s, %(method)s,
    %(resource_name)s, %(changed_fields)s, %(request_id)s, %(code)s, %(reason)s, %(omitted_count)s);

-- name: insert_event_of_change
-- A transaction that has changed nothing has no number yet. What a request made stands in `requests`.
INSERT INTO audit_events (tenant_id, caller_tenant_id, key_id, role, issuer, subject, address, method, resource_name,
    changed_fields, request_id, code, reason, omitted_count)
SELECT coalesce(current_tenant_id(), %(tenant_id)s), %(caller_tenant_id)s, %(key_id)s, %(role)s, %(issuer)s,
    %(subject)s, %(address)s, %(method)s, coalesce((
        SELECT nullif(requests.resource_name, '')
        FROM requests
        WHERE requests.request_id = %(request_uuid)s::uuid
            AND requests.tenant_id IN (current_tenant_id(), %(tenant_id)s, %(caller_tenant_id)s)
        LIMIT 1
    ), %(resource_name)s), %(changed_fields)s, %(request_id)s, %(code)s, %(reason)s, %(omitted_count)s
WHERE pg_current_xact_id_if_assigned() IS NOT NULL;

-- name: list_events
SELECT event_id, tenant_id, caller_tenant_id, key_id, role, issuer, subject, address, method, resource_name,
    changed_fields, request_id, code, reason, omitted_count, create_time
FROM audit_events
WHERE (%(before_event_id)s::bigint IS NULL OR event_id < %(before_event_id)s)
    AND (%(method)s::text IS NULL OR method = %(method)s)
    AND (%(key_tenant_id)s::text IS NULL OR (caller_tenant_id, key_id) = (%(key_tenant_id)s, %(key_id)s::text))
    AND (%(resource_name)s::text IS NULL OR resource_name = %(resource_name)s)
    AND (NOT %(refused_only)s OR code <> 'OK')
    AND (%(start_time)s::timestamptz IS NULL OR create_time >= %(start_time)s)
    AND (%(end_time)s::timestamptz IS NULL OR create_time < %(end_time)s)
ORDER BY event_id DESC
LIMIT %(limit)s;

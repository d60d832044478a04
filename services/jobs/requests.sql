-- name: insert_request
INSERT INTO requests (tenant_id, request_id, method, body_sha256)
VALUES (%(tenant_id)s, %(request_id)s, %(method)s, %(body_sha256)s)
ON CONFLICT DO NOTHING;

-- name: find_request
SELECT method, body_sha256, resource_name
FROM requests
WHERE tenant_id = %(tenant_id)s AND request_id = %(request_id)s;

-- name: complete_request
UPDATE requests
SET resource_name = %(resource_name)s
WHERE tenant_id = %(tenant_id)s AND request_id = %(request_id)s;

-- name: insert_cost_version
INSERT INTO cost_versions (cost_id, currency, effective_time, document, document_sha256)
VALUES (%(cost_id)s, %(currency)s, %(effective_time)s, %(document)s, %(document_sha256)s)
RETURNING cost_id, effective_time, document, document_sha256, create_time;

-- name: get_cost
SELECT cost_id, effective_time, document, document_sha256, create_time
FROM cost_versions
WHERE cost_id = %(cost_id)s;

-- name: list_costs
SELECT cost_id, effective_time, document, document_sha256, create_time
FROM cost_versions
WHERE %(before_time)s::timestamptz IS NULL
    OR (effective_time, cost_id) < (%(before_time)s, %(before_id)s::text)
ORDER BY effective_time DESC, cost_id DESC
LIMIT %(limit)s;

-- name: all_costs
SELECT cost_id, effective_time, document, document_sha256, create_time
FROM cost_versions
ORDER BY effective_time;

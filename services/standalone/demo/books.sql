-- name: sum_captures
SELECT coalesce(sum(amount_nanos), 0)::bigint
FROM transfers
WHERE tenant_id = %s AND reason = 'CAPTURE'

-- name: insert_holds
INSERT INTO transfers (tenant_id, kind, debit_account, credit_account, amount_nanos, currency, image_id, job_id, reason)
SELECT %(tenant_id)s, 'PENDING', 'WALLET', 'REVENUE', hold.amount_nanos, %(currency)s, hold.image_id, %(job_id)s, 'HOLD'
FROM unnest(%(image_ids)s::text[], %(amounts_nanos)s::bigint[]) AS hold (image_id, amount_nanos)
RETURNING image_id, transfer_id;

-- name: insert_capture
INSERT INTO transfers (tenant_id, kind, debit_account, credit_account, amount_nanos, currency, pending_id, image_id,
    job_id, reason)
SELECT tenant_id, 'POST', debit_account, credit_account, %(amount_nanos)s, currency, transfer_id, image_id, job_id,
    'CAPTURE'
FROM transfers
WHERE transfer_id = %(pending_id)s AND kind = 'PENDING'
RETURNING transfer_id;

-- name: insert_releases
INSERT INTO transfers (tenant_id, kind, debit_account, credit_account, amount_nanos, currency, pending_id, image_id,
    job_id, reason)
SELECT tenant_id, 'VOID', debit_account, credit_account, 0, currency, transfer_id, image_id, job_id, 'RELEASE'
FROM transfers
WHERE transfer_id = ANY(%(pending_ids)s) AND kind = 'PENDING';

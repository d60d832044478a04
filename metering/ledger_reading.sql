-- name: credit_limits
SELECT tenant_id, credit_limit_nanos
FROM accounts
WHERE tenant_id = ANY(%(tenant_ids)s) AND kind = 'WALLET' AND credit_limit_nanos > 0;

-- name: get_balance
SELECT tenant_id, currency, credits_posted AS credited_nanos, debits_pending AS held_nanos,
    debits_posted AS spent_nanos, credit_limit_nanos
FROM accounts
WHERE tenant_id = %(tenant_id)s AND currency = %(currency)s AND kind = 'WALLET';

-- name: list_transfers
SELECT transfer_id, tenant_id, kind, debit_account, credit_account, amount_nanos, currency, pending_id, image_id,
    job_id, reason, description, create_time
FROM transfers
WHERE tenant_id = %(tenant_id)s
    AND (%(before)s::bigint IS NULL OR transfer_id < %(before)s)
    AND (%(start_time)s::timestamptz IS NULL OR create_time >= %(start_time)s)
    AND (%(end_time)s::timestamptz IS NULL OR create_time < %(end_time)s)
ORDER BY transfer_id DESC
LIMIT %(limit)s;

-- name: get_transfer
SELECT transfer_id, tenant_id, kind, debit_account, credit_account, amount_nanos, currency, pending_id, image_id,
    job_id, reason, description, create_time
FROM transfers
WHERE tenant_id = %(tenant_id)s AND transfer_id = %(transfer_id)s;

-- name: open_accounts
INSERT INTO accounts (tenant_id, kind, currency, guarded)
SELECT %(tenant_id)s, kind, %(currency)s, kind = 'WALLET'
FROM unnest(ARRAY['WALLET', 'REVENUE', 'FUNDING', 'WRITE_OFF', 'BREAKAGE', 'RECEIVABLE', 'TAX', 'ROUNDING']) AS kind
ON CONFLICT DO NOTHING;

-- name: insert_single
INSERT INTO transfers (tenant_id, kind, debit_account, credit_account, amount_nanos, currency, image_id, job_id,
    reason, description, request_id)
VALUES (%(tenant_id)s, 'SINGLE', %(debit_account)s, %(credit_account)s, %(amount_nanos)s, %(currency)s, %(image_id)s,
    %(job_id)s, %(reason)s, %(description)s, %(request_id)s)
RETURNING transfer_id, tenant_id, kind, debit_account, credit_account, amount_nanos, currency, pending_id, image_id,
    job_id, reason, description, create_time;

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

-- name: hold_in_accounts
UPDATE accounts
SET debits_pending = debits_pending + CASE kind WHEN 'WALLET' THEN %(amount_nanos)s ELSE 0 END,
    credits_pending = credits_pending + CASE kind WHEN 'REVENUE' THEN %(amount_nanos)s ELSE 0 END
WHERE tenant_id = %(tenant_id)s AND currency = %(currency)s AND kind IN ('WALLET', 'REVENUE');

-- name: resolve_in_accounts
UPDATE accounts
SET debits_pending = debits_pending - CASE kind WHEN 'WALLET' THEN %(hold_nanos)s ELSE 0 END,
    debits_posted = debits_posted + CASE kind WHEN 'WALLET' THEN %(amount_nanos)s ELSE 0 END,
    credits_pending = credits_pending - CASE kind WHEN 'REVENUE' THEN %(hold_nanos)s ELSE 0 END,
    credits_posted = credits_posted + CASE kind WHEN 'REVENUE' THEN %(amount_nanos)s ELSE 0 END
WHERE tenant_id = %(tenant_id)s AND currency = %(currency)s AND kind IN ('WALLET', 'REVENUE');

-- name: post_to_accounts
UPDATE accounts
SET debits_posted = debits_posted + CASE kind WHEN %(debit_account)s THEN %(amount_nanos)s ELSE 0 END,
    credits_posted = credits_posted + CASE kind WHEN %(credit_account)s THEN %(amount_nanos)s ELSE 0 END
WHERE tenant_id = %(tenant_id)s AND currency = %(currency)s
    AND kind IN (%(debit_account)s, %(credit_account)s);

-- name: lock_accounts
SELECT kind
FROM accounts
WHERE tenant_id = %(tenant_id)s AND currency = %(currency)s
ORDER BY kind
FOR NO KEY UPDATE;

-- name: set_credit_limit
UPDATE accounts
SET credit_limit_nanos = %(credit_limit_nanos)s
WHERE tenant_id = %(tenant_id)s AND currency = %(currency)s AND kind = 'WALLET';

-- name: open_accounts
INSERT INTO accounts (tenant_id, kind, currency, guarded)
SELECT %(tenant_id)s, kind, %(currency)s, kind = 'WALLET'
FROM unnest(ARRAY['WALLET', 'REVENUE', 'FUNDING', 'WRITE_OFF', 'BREAKAGE', 'RECEIVABLE', 'TAX', 'ROUNDING']) AS kind
ON CONFLICT DO NOTHING;

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

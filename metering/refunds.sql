-- name: prepaid_nanos
SELECT credits_posted - debits_posted - debits_pending
FROM accounts
WHERE tenant_id = %(tenant_id)s AND currency = %(currency)s AND kind = 'WALLET';

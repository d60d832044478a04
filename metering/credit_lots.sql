-- name: open_lot
-- What the wallet owed before, a tenant's credit limit used, is paid by the lot at once.
WITH wallet AS (
    SELECT least(%(amount_nanos)s, greatest(0, debits_posted - (credits_posted - %(amount_nanos)s)))::bigint AS owed_nanos
    FROM accounts
    WHERE tenant_id = %(tenant_id)s AND currency = %(currency)s AND kind = 'WALLET'
), lot AS (
    INSERT INTO credit_lots (tenant_id, lot_id, currency, priority, expire_time, amount_nanos, consumed_nanos)
    SELECT %(tenant_id)s, %(transfer_id)s, %(currency)s, %(priority)s, %(expire_time)s, %(amount_nanos)s, owed_nanos
    FROM wallet
    RETURNING tenant_id, lot_id, consumed_nanos
)
INSERT INTO lot_consumptions (tenant_id, transfer_id, lot_id, amount_nanos)
SELECT tenant_id, lot_id, lot_id, consumed_nanos
FROM lot
WHERE consumed_nanos > 0;

-- name: consume_lots
-- In order of priority and expiry, until the amount is covered or no lot has a rest: then it is owed.
WITH open AS (
    SELECT lot_id, amount_nanos - consumed_nanos - expired_nanos AS rest_nanos,
        sum(amount_nanos - consumed_nanos - expired_nanos)
            OVER (ORDER BY priority, expire_time NULLS LAST, lot_id) AS through_nanos
    FROM credit_lots
    WHERE tenant_id = %(tenant_id)s AND currency = %(currency)s AND consumed_nanos + expired_nanos < amount_nanos
), taken AS (
    SELECT lot_id, least(rest_nanos, %(amount_nanos)s - (through_nanos - rest_nanos))::bigint AS amount_nanos
    FROM open
    WHERE through_nanos - rest_nanos < %(amount_nanos)s
), consumed AS (
    UPDATE credit_lots AS lot
    SET consumed_nanos = consumed_nanos + taken.amount_nanos
    FROM taken
    WHERE lot.lot_id = taken.lot_id
    RETURNING lot.tenant_id, lot.lot_id, taken.amount_nanos
)
INSERT INTO lot_consumptions (tenant_id, transfer_id, lot_id, amount_nanos)
SELECT tenant_id, %(transfer_id)s, lot_id, amount_nanos
FROM consumed;

-- name: lots_to_expire
-- After one, by its place: lots that holds stand on are on the list until these are resolved, and keep no other from it.
SELECT tenant_id, lot_id, currency, expire_time
FROM credit_lots
WHERE expire_time <= %(now)s AND consumed_nanos + expired_nanos < amount_nanos
    AND (%(after_lot)s::bigint IS NULL OR (tenant_id, currency, expire_time, lot_id)
        > (%(after_tenant)s::text, %(after_currency)s::text, %(after_time)s::timestamptz, %(after_lot)s))
ORDER BY tenant_id, currency, expire_time, lot_id
LIMIT %(limit)s;

-- name: due_lots
-- Of one wallet, by the time of this transaction.
SELECT tenant_id, lot_id, currency, expire_time
FROM credit_lots
WHERE tenant_id = %(tenant_id)s AND currency = %(currency)s AND expire_time <= now()
    AND consumed_nanos + expired_nanos < amount_nanos
ORDER BY expire_time, lot_id;

-- name: expirable_nanos
-- The lot's rest, as far as no open hold stands on it: what the wallet has free without its credit limit.
SELECT greatest(0, least(lot.amount_nanos - lot.consumed_nanos - lot.expired_nanos,
    wallet.credits_posted - wallet.debits_posted - wallet.debits_pending))
FROM credit_lots AS lot
JOIN accounts AS wallet USING (tenant_id, currency)
WHERE lot.lot_id = %(lot_id)s AND wallet.kind = 'WALLET';

-- name: expire_lot
UPDATE credit_lots SET expired_nanos = expired_nanos + %(amount_nanos)s WHERE lot_id = %(lot_id)s;

-- name: list_lots
SELECT lot_id, priority, expire_time, amount_nanos, consumed_nanos, expired_nanos
FROM credit_lots
WHERE tenant_id = %(tenant_id)s AND currency = %(currency)s
ORDER BY priority, expire_time NULLS LAST, lot_id;

-- name: tenants_to_seal
SELECT DISTINCT tenant_id
FROM unsealed_transfers
ORDER BY tenant_id;

-- name: seal_block
-- What is listed and committed now, in the order of its numbers; what commits later comes into a later block.
WITH head AS (
    SELECT coalesce(max(block_number), 0) AS block_number,
        coalesce((array_agg(block_sha256 ORDER BY block_number DESC))[1],
            sha256(convert_to(%(tenant_id)s, 'UTF8'))) AS block_sha256
    FROM ledger_blocks
    WHERE tenant_id = %(tenant_id)s
), waiting AS MATERIALIZED (
    SELECT transfer_id, row_number() OVER (ORDER BY transfer_id) AS position, transfer_sha256(transfer) AS transfer_sha256
    FROM unsealed_transfers
    JOIN transfers AS transfer USING (tenant_id, transfer_id)
    WHERE tenant_id = %(tenant_id)s
    ORDER BY transfer_id
    LIMIT %(limit)s
), block AS (
    INSERT INTO ledger_blocks (tenant_id, block_number, previous_sha256, block_sha256, transfer_count)
    SELECT %(tenant_id)s, head.block_number + 1, head.block_sha256,
        sha256(head.block_sha256 || int8send(head.block_number + 1) || string_agg(transfer_sha256, ''::bytea ORDER BY position)),
        count(*)
    FROM waiting
    CROSS JOIN head
    GROUP BY head.block_number, head.block_sha256
    RETURNING tenant_id, block_number
), sealed AS (
    INSERT INTO sealed_transfers (tenant_id, transfer_id, block_number, position, transfer_sha256)
    SELECT block.tenant_id, transfer_id, block.block_number, position, transfer_sha256
    FROM waiting
    CROSS JOIN block
), listed AS (
    DELETE FROM unsealed_transfers
    WHERE transfer_id IN (SELECT transfer_id FROM waiting)
)
SELECT count(*) FROM waiting;

-- name: count_chain
SELECT (SELECT count(*) FROM transfers WHERE tenant_id = %(tenant_id)s) AS transfer_count,
    (SELECT count(*) FROM ledger_blocks WHERE tenant_id = %(tenant_id)s) AS block_count;

-- name: first_changed_transfer
-- A sealed transfer that is not what it was, or is gone.
SELECT sealed.transfer_id, sealed.block_number, transfer.transfer_id IS NULL AS is_gone
FROM sealed_transfers AS sealed
LEFT JOIN transfers AS transfer USING (tenant_id, transfer_id)
WHERE sealed.tenant_id = %(tenant_id)s
    AND (transfer.transfer_id IS NULL OR transfer_sha256(transfer) <> sealed.transfer_sha256)
ORDER BY sealed.block_number, sealed.position
LIMIT 1;

-- name: first_broken_block
-- A block that does not follow the one before it, or does not hold what it was made of.
WITH contents AS (
    SELECT block_number, count(*) AS transfer_count,
        string_agg(transfer_sha256, ''::bytea ORDER BY position) AS hashes
    FROM sealed_transfers
    WHERE tenant_id = %(tenant_id)s
    GROUP BY block_number
), chain AS (
    SELECT block.block_number, block.transfer_count, block.previous_sha256, block.block_sha256,
        row_number() OVER (ORDER BY block.block_number) AS place,
        coalesce(lag(block.block_sha256) OVER (ORDER BY block.block_number),
            sha256(convert_to(%(tenant_id)s, 'UTF8'))) AS head_sha256
    FROM ledger_blocks AS block
    WHERE block.tenant_id = %(tenant_id)s
)
SELECT block_number
FROM chain
LEFT JOIN contents USING (block_number)
WHERE place <> block_number OR previous_sha256 <> head_sha256
    OR chain.transfer_count IS DISTINCT FROM contents.transfer_count
    OR block_sha256 IS DISTINCT FROM sha256(previous_sha256 || int8send(block_number) || contents.hashes)
ORDER BY block_number
LIMIT 1;

-- name: first_unlisted_transfer
SELECT transfer_id
FROM transfers
LEFT JOIN unsealed_transfers AS waiting USING (tenant_id, transfer_id)
LEFT JOIN sealed_transfers AS sealed USING (tenant_id, transfer_id)
WHERE tenant_id = %(tenant_id)s AND (waiting.transfer_id IS NULL) = (sealed.transfer_id IS NULL)
ORDER BY transfer_id
LIMIT 1;

-- name: first_wrong_balance
-- Every counter of every account again, from the transfers alone.
WITH movements AS (
    SELECT hold.currency, hold.debit_account, hold.credit_account, hold.amount_nanos AS pending_nanos,
        0 AS posted_nanos
    FROM transfers AS hold
    LEFT JOIN transfers AS resolution ON resolution.pending_id = hold.transfer_id
    WHERE hold.tenant_id = %(tenant_id)s AND hold.kind = 'PENDING' AND resolution.transfer_id IS NULL
    UNION ALL
    SELECT currency, debit_account, credit_account, 0, amount_nanos
    FROM transfers
    WHERE tenant_id = %(tenant_id)s AND kind IN ('SINGLE', 'POST')
), sums AS (
    SELECT currency, kind, sum(debits_pending) AS debits_pending, sum(debits_posted) AS debits_posted,
        sum(credits_pending) AS credits_pending, sum(credits_posted) AS credits_posted
    FROM movements
    CROSS JOIN LATERAL (VALUES (debit_account, pending_nanos, posted_nanos, 0, 0),
        (credit_account, 0, 0, pending_nanos, posted_nanos))
        AS side (kind, debits_pending, debits_posted, credits_pending, credits_posted)
    GROUP BY currency, kind
)
SELECT account.kind, account.currency
FROM accounts AS account
LEFT JOIN sums USING (currency, kind)
WHERE account.tenant_id = %(tenant_id)s
    AND (account.debits_pending, account.debits_posted, account.credits_pending, account.credits_posted)
        IS DISTINCT FROM (coalesce(sums.debits_pending, 0), coalesce(sums.debits_posted, 0),
            coalesce(sums.credits_pending, 0), coalesce(sums.credits_posted, 0))
ORDER BY account.currency, account.kind
LIMIT 1;

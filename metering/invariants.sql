-- Each counts violations: over everything, where image_ids and since are NULL, else over those images and what was
-- written since; of one tenant, where tenant_id is set.

-- name: get_time
SELECT now();

-- name: touched_images
-- Whatever ends or moves an image leaves one of these in the same transaction.
SELECT image_id FROM transfers WHERE create_time >= %(since)s AND image_id IS NOT NULL
UNION
SELECT image_id FROM job_events WHERE create_time >= %(since)s AND image_id IS NOT NULL
UNION
SELECT image_id FROM usage_records WHERE charge_time >= %(since)s;

-- name: billed_not_succeeded
SELECT count(*)
FROM transfers AS capture
LEFT JOIN images AS image ON image.image_id = capture.image_id
WHERE capture.kind = 'POST' AND image.state IS DISTINCT FROM 'SUCCEEDED'
    AND (%(tenant_id)s::text IS NULL OR capture.tenant_id = %(tenant_id)s)
    AND (%(image_ids)s::text[] IS NULL OR capture.image_id = ANY (%(image_ids)s));

-- name: succeeded_not_billed
SELECT count(*)
FROM images AS image
WHERE image.state = 'SUCCEEDED' AND (%(tenant_id)s::text IS NULL OR image.tenant_id = %(tenant_id)s)
    AND (%(image_ids)s::text[] IS NULL OR image.image_id = ANY (%(image_ids)s))
    AND NOT EXISTS (SELECT FROM transfers WHERE transfers.image_id = image.image_id AND kind = 'POST');

-- name: hold_resolved_twice
SELECT count(*)
FROM (
    SELECT
    FROM transfers
    WHERE pending_id IS NOT NULL AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
        AND (%(image_ids)s::text[] IS NULL OR pending_id IN (
            SELECT transfer_id FROM transfers WHERE kind = 'PENDING' AND image_id = ANY (%(image_ids)s)))
    GROUP BY pending_id
    HAVING count(*) > 1
) AS twice;

-- name: terminal_image_with_open_hold
SELECT count(*)
FROM transfers AS hold
JOIN images AS image ON image.image_id = hold.image_id
WHERE hold.kind = 'PENDING' AND image.state IN ('SUCCEEDED', 'FAILED', 'BLOCKED', 'CANCELLED')
    AND (%(tenant_id)s::text IS NULL OR hold.tenant_id = %(tenant_id)s)
    AND (%(image_ids)s::text[] IS NULL OR hold.image_id = ANY (%(image_ids)s))
    AND NOT EXISTS (SELECT FROM transfers AS resolution WHERE resolution.pending_id = hold.transfer_id);

-- name: live_image_without_open_hold
SELECT count(*)
FROM images AS image
WHERE image.state IN ('QUEUED', 'RUNNING', 'QUARANTINED')
    AND (%(tenant_id)s::text IS NULL OR image.tenant_id = %(tenant_id)s)
    AND (%(image_ids)s::text[] IS NULL OR image.image_id = ANY (%(image_ids)s))
    AND NOT EXISTS (
        SELECT
        FROM transfers AS hold
        WHERE hold.transfer_id = image.hold_transfer_id AND hold.kind = 'PENDING'
            AND NOT EXISTS (SELECT FROM transfers AS resolution WHERE resolution.pending_id = hold.transfer_id));

-- name: job_counters_differ
SELECT count(*)
FROM jobs AS job
LEFT JOIN (
    SELECT job_id, count(*) AS image_count,
        count(*) FILTER (WHERE state = 'QUEUED') AS queued_count,
        count(*) FILTER (WHERE state = 'RUNNING') AS running_count,
        count(*) FILTER (WHERE state = 'QUARANTINED') AS quarantined_count,
        count(*) FILTER (WHERE state = 'SUCCEEDED') AS succeeded_count,
        count(*) FILTER (WHERE state = 'FAILED') AS failed_count,
        count(*) FILTER (WHERE state = 'BLOCKED') AS blocked_count,
        count(*) FILTER (WHERE state = 'CANCELLED') AS cancelled_count
    FROM images
    WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
        AND (%(image_ids)s::text[] IS NULL OR job_id IN (SELECT touched.job_id FROM images AS touched WHERE touched.image_id = ANY (%(image_ids)s)))
    GROUP BY job_id
) AS counted ON counted.job_id = job.job_id
WHERE (%(tenant_id)s::text IS NULL OR job.tenant_id = %(tenant_id)s)
    AND (%(image_ids)s::text[] IS NULL OR job.job_id IN (SELECT touched.job_id FROM images AS touched WHERE touched.image_id = ANY (%(image_ids)s)))
    AND (job.image_count, job.queued_count, job.running_count, job.quarantined_count, job.succeeded_count,
        job.failed_count, job.blocked_count, job.cancelled_count)
    IS DISTINCT FROM (counted.image_count, counted.queued_count, counted.running_count, counted.quarantined_count,
        counted.succeeded_count, counted.failed_count, counted.blocked_count, counted.cancelled_count);

-- name: account_counters_differ
-- A hold counts as pending on both of its accounts until it is resolved; singles and captures are posted.
WITH movements AS (
    SELECT hold.tenant_id, hold.currency, hold.debit_account, hold.credit_account,
        hold.amount_nanos AS pending_nanos, 0 AS posted_nanos
    FROM transfers AS hold
    WHERE hold.kind = 'PENDING' AND (%(tenant_id)s::text IS NULL OR hold.tenant_id = %(tenant_id)s)
        AND NOT EXISTS (SELECT FROM transfers AS resolution WHERE resolution.pending_id = hold.transfer_id)
    UNION ALL
    SELECT tenant_id, currency, debit_account, credit_account, 0, amount_nanos
    FROM transfers
    WHERE kind IN ('SINGLE', 'POST') AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
), sides AS (
    SELECT tenant_id, currency, debit_account AS kind, pending_nanos AS debits_pending, posted_nanos AS debits_posted,
        0 AS credits_pending, 0 AS credits_posted
    FROM movements
    UNION ALL
    SELECT tenant_id, currency, credit_account, 0, 0, pending_nanos, posted_nanos
    FROM movements
), sums AS (
    SELECT tenant_id, currency, kind, sum(debits_pending) AS debits_pending, sum(debits_posted) AS debits_posted,
        sum(credits_pending) AS credits_pending, sum(credits_posted) AS credits_posted
    FROM sides
    GROUP BY tenant_id, currency, kind
)
SELECT count(*)
FROM accounts AS account
LEFT JOIN sums USING (tenant_id, currency, kind)
WHERE (%(tenant_id)s::text IS NULL OR account.tenant_id = %(tenant_id)s)
    AND (account.debits_pending, account.debits_posted, account.credits_pending, account.credits_posted)
    IS DISTINCT FROM (coalesce(sums.debits_pending, 0), coalesce(sums.debits_posted, 0),
        coalesce(sums.credits_pending, 0), coalesce(sums.credits_posted, 0));

-- name: debits_differ_from_credits
SELECT count(*)
FROM (
    SELECT
    FROM accounts
    WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
    GROUP BY tenant_id, currency
    HAVING sum(debits_pending) <> sum(credits_pending) OR sum(debits_posted) <> sum(credits_posted)
) AS unbalanced;

-- name: guarded_account_overdrawn
SELECT count(*)
FROM accounts
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
    AND guarded AND debits_pending + debits_posted > credits_posted + credit_limit_nanos;

-- name: capture_above_hold
SELECT count(*)
FROM transfers AS capture
JOIN transfers AS hold ON hold.transfer_id = capture.pending_id
WHERE capture.kind = 'POST' AND capture.amount_nanos > hold.amount_nanos
    AND (%(tenant_id)s::text IS NULL OR capture.tenant_id = %(tenant_id)s)
    AND (%(image_ids)s::text[] IS NULL OR capture.image_id = ANY (%(image_ids)s));

-- name: usage_differs_from_captures
-- Either side may lack the other; an image that was not charged has a price of 0 and no capture.
SELECT count(*)
FROM (
    SELECT image_id, price_nanos, currency
    FROM usage_records
    WHERE outcome = 'SUCCEEDED' AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
        AND (%(image_ids)s::text[] IS NULL OR image_id = ANY (%(image_ids)s))
) AS used
FULL JOIN (
    SELECT image_id, amount_nanos, currency
    FROM transfers
    WHERE kind = 'POST' AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
        AND (%(image_ids)s::text[] IS NULL OR image_id = ANY (%(image_ids)s))
) AS capture USING (image_id)
WHERE (used.price_nanos, used.currency) IS DISTINCT FROM (capture.amount_nanos, capture.currency);

-- name: usage_lines_differ_from_price
SELECT count(*)
FROM usage_records AS used
LEFT JOIN (
    SELECT image_id, sum(billed_cost_nanos) AS billed_cost_nanos
    FROM usage_lines
    WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
        AND (%(image_ids)s::text[] IS NULL OR image_id = ANY (%(image_ids)s))
    GROUP BY image_id
) AS line USING (image_id)
WHERE used.price_nanos <> coalesce(line.billed_cost_nanos, 0)
    AND (%(tenant_id)s::text IS NULL OR used.tenant_id = %(tenant_id)s)
    AND (%(image_ids)s::text[] IS NULL OR used.image_id = ANY (%(image_ids)s));

-- name: budget_counters_differ
-- A budget's period carries the holds and captures of the jobs that were accepted in it.
WITH sums AS (
    SELECT link.tenant_id, link.budget_id, link.period_start,
        coalesce(sum(hold.amount_nanos) FILTER (WHERE resolution.transfer_id IS NULL), 0) AS held_nanos,
        coalesce(sum(resolution.amount_nanos), 0) AS spent_nanos
    FROM job_budgets AS link
    JOIN transfers AS hold
        ON hold.tenant_id = link.tenant_id AND hold.job_id = link.job_id AND hold.kind = 'PENDING'
    LEFT JOIN transfers AS resolution ON resolution.pending_id = hold.transfer_id
    WHERE (%(tenant_id)s::text IS NULL OR link.tenant_id = %(tenant_id)s)
    GROUP BY 1, 2, 3
)
SELECT count(*)
FROM budget_periods AS counted
LEFT JOIN sums USING (tenant_id, budget_id, period_start)
WHERE (%(tenant_id)s::text IS NULL OR counted.tenant_id = %(tenant_id)s)
    AND (counted.held_nanos, counted.spent_nanos)
    IS DISTINCT FROM (coalesce(sums.held_nanos, 0), coalesce(sums.spent_nanos, 0));

-- name: guarded_budget_over
SELECT count(*)
FROM budget_periods
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
    AND guarded AND held_nanos + spent_nanos > limit_nanos + excess_nanos;

-- name: period_quantities_differ
-- Over all periods of a tenant: whoever moves to another time zone moves the borders, never the sum.
SELECT count(*)
FROM (
    SELECT tenant_id, component, model, sum(quantity) AS quantity
    FROM period_quantities
    WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
    GROUP BY tenant_id, component, model
) AS counted
FULL JOIN (
    SELECT line.tenant_id, line.component, used.model,
        sum(round(line.consumed_quantity * CASE line.component
            WHEN 'PER_IMAGE' THEN 1 WHEN 'PER_KWH' THEN 3600000000 ELSE 1000000 END)) AS quantity
    FROM usage_lines AS line
    JOIN usage_records AS used USING (image_id)
    WHERE line.component <> 'CAP' AND (%(tenant_id)s::text IS NULL OR line.tenant_id = %(tenant_id)s)
    GROUP BY line.tenant_id, line.component, used.model
) AS used USING (tenant_id, component, model)
WHERE counted.quantity IS DISTINCT FROM used.quantity;

-- name: lots_differ_from_wallet
-- What lots have left is what the wallet has; a wallet below zero has none.
SELECT count(*)
FROM accounts AS wallet
LEFT JOIN (
    SELECT tenant_id, currency, sum(amount_nanos - consumed_nanos - expired_nanos) AS rest_nanos
    FROM credit_lots
    WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
    GROUP BY tenant_id, currency
) AS lot USING (tenant_id, currency)
WHERE wallet.kind = 'WALLET' AND (%(tenant_id)s::text IS NULL OR wallet.tenant_id = %(tenant_id)s)
    AND greatest(0, wallet.credits_posted - wallet.debits_posted) <> coalesce(lot.rest_nanos, 0);

-- name: lot_counters_differ
SELECT count(*)
FROM credit_lots AS lot
LEFT JOIN (
    SELECT lot_id, sum(amount_nanos) AS amount_nanos
    FROM lot_consumptions
    WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
    GROUP BY lot_id
) AS used USING (lot_id)
WHERE (%(tenant_id)s::text IS NULL OR lot.tenant_id = %(tenant_id)s)
    AND lot.consumed_nanos <> coalesce(used.amount_nanos, 0);

-- name: transfer_on_no_list
-- Each transfer is sealed in a block or waits for one; never both, never neither.
SELECT count(*)
FROM transfers
LEFT JOIN unsealed_transfers AS waiting USING (transfer_id)
LEFT JOIN sealed_transfers AS sealed USING (transfer_id)
WHERE (%(tenant_id)s::text IS NULL OR transfers.tenant_id = %(tenant_id)s)
    AND (waiting.transfer_id IS NULL) = (sealed.transfer_id IS NULL)
    AND (%(since)s::timestamptz IS NULL OR transfers.create_time >= %(since)s);

-- name: usage_on_no_list
-- Each image's usage waits for an invoice or is on one; never both, never neither.
SELECT count(*)
FROM usage_records AS used
LEFT JOIN uninvoiced_usage AS waiting USING (tenant_id, image_id)
LEFT JOIN invoiced_usage AS invoiced USING (tenant_id, image_id)
WHERE (%(tenant_id)s::text IS NULL OR used.tenant_id = %(tenant_id)s)
    AND (waiting.image_id IS NULL) = (invoiced.image_id IS NULL)
    AND (%(image_ids)s::text[] IS NULL OR used.image_id = ANY (%(image_ids)s));

-- name: invoice_lines_differ_from_total
SELECT count(*)
FROM invoices
WHERE (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
    AND (%(since)s::timestamptz IS NULL OR finalize_time >= %(since)s)
    AND total_nanos IS DISTINCT FROM (
    SELECT coalesce(sum((line ->> 'billed_cost_nanos')::bigint), 0)
    FROM jsonb_array_elements(document::jsonb -> 'lines') AS line);

-- name: invoice_differs_from_ledger
-- Captures of its images and what its finalization booked are the total before prepaid credit.
WITH captures AS (
    SELECT invoiced.tenant_id, invoiced.invoice_id, sum(capture.amount_nanos) AS amount_nanos
    FROM invoiced_usage AS invoiced
    JOIN transfers AS capture USING (tenant_id, image_id)
    JOIN invoices AS invoice USING (tenant_id, invoice_id)
    WHERE capture.kind = 'POST' AND (%(tenant_id)s::text IS NULL OR invoiced.tenant_id = %(tenant_id)s)
        AND (%(since)s::timestamptz IS NULL OR invoice.finalize_time >= %(since)s)
    GROUP BY invoiced.tenant_id, invoiced.invoice_id
), period_ends AS (
    SELECT noted.tenant_id, noted.invoice_id,
        sum(CASE WHEN booked.debit_account IN ('WALLET', 'RECEIVABLE') THEN booked.amount_nanos
            ELSE -booked.amount_nanos END) AS amount_nanos
    FROM invoice_transfers AS noted
    JOIN transfers AS booked USING (tenant_id, transfer_id)
    WHERE (%(tenant_id)s::text IS NULL OR noted.tenant_id = %(tenant_id)s)
        AND booked.reason IN ('VOLUME_TIER', 'MINIMUM', 'DISCOUNT', 'PARKED_ENERGY', 'TAX', 'ROUNDING')
    GROUP BY noted.tenant_id, noted.invoice_id
)
SELECT count(*)
FROM invoices AS invoice
LEFT JOIN captures USING (tenant_id, invoice_id)
LEFT JOIN period_ends USING (tenant_id, invoice_id)
WHERE (%(tenant_id)s::text IS NULL OR invoice.tenant_id = %(tenant_id)s)
    AND (%(since)s::timestamptz IS NULL OR invoice.finalize_time >= %(since)s)
    AND invoice.total_nanos + invoice.credit_applied_nanos
    <> coalesce(captures.amount_nanos, 0) + coalesce(period_ends.amount_nanos, 0);

-- name: credit_notes_above_total
SELECT count(*)
FROM (
    SELECT
    FROM credit_notes AS note
    JOIN invoices AS invoice USING (tenant_id, invoice_id)
    WHERE (%(tenant_id)s::text IS NULL OR note.tenant_id = %(tenant_id)s)
    GROUP BY tenant_id, invoice_id, invoice.total_nanos
    HAVING sum(note.amount_nanos) > invoice.total_nanos
) AS above;

-- name: get_stored
SELECT document, settlement.state, settlement.settle_time, coalesce(settlement.note, '') AS settle_note,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('credit_note_number', credit_note_number,
            'amount_nanos', amount_nanos, 'tax_nanos', tax_nanos, 'reason', reason, 'create_time', note.create_time)
            ORDER BY credit_note_number), '[]')
     FROM credit_notes AS note
     WHERE note.tenant_id = invoice.tenant_id AND note.invoice_id = invoice.invoice_id) AS credit_notes
FROM invoices AS invoice
LEFT JOIN invoice_settlements AS settlement USING (tenant_id, invoice_id)
WHERE invoice.tenant_id = %(tenant_id)s AND invoice.invoice_id = %(invoice_id)s;

-- name: get_previous_id
-- The newest before one: stored, or a month whose usage waits.
SELECT greatest(
    (SELECT max(invoice_id)
     FROM invoices
     WHERE tenant_id = %(tenant_id)s AND invoice_id < %(before_id)s),
    (SELECT to_char(charge_time AT TIME ZONE %(time_zone)s, 'YYYY-MM')
     FROM usage_records AS used
     WHERE tenant_id = %(tenant_id)s AND charge_time < %(before_time)s AND charge_time >= %(since_time)s
         AND EXISTS (SELECT FROM uninvoiced_usage AS waiting
                     WHERE waiting.tenant_id = used.tenant_id AND waiting.image_id = used.image_id)
     ORDER BY charge_time DESC
     LIMIT 1));

-- name: next_invoice_number
SELECT coalesce(max(invoice_number), 0) + 1 FROM invoices WHERE tenant_id = %(tenant_id)s;

-- name: insert_invoice
INSERT INTO invoices (tenant_id, invoice_id, invoice_number, billing_period_start, billing_period_end, currency,
    document, document_sha256, total_nanos, wallet_due_nanos, credit_applied_nanos, finalize_time)
VALUES (%(tenant_id)s, %(invoice_id)s, %(invoice_number)s, %(billing_period_start)s, %(billing_period_end)s,
    %(currency)s, %(document)s, sha256(convert_to(%(document)s, 'UTF8')), %(total_nanos)s, %(wallet_due_nanos)s,
    %(credit_applied_nanos)s, %(finalize_time)s);

-- name: get_dues
-- What an invoice had to be paid through the wallet and beside it, less its credit notes.
SELECT invoice.currency, invoice.wallet_due_nanos - coalesce(note.wallet_nanos, 0) AS wallet_nanos,
    invoice.total_nanos - invoice.wallet_due_nanos - coalesce(note.amount_nanos - note.wallet_nanos, 0)
        AS receivable_nanos,
    settlement.state AS settled_state
FROM invoices AS invoice
LEFT JOIN invoice_settlements AS settlement USING (tenant_id, invoice_id)
LEFT JOIN (
    SELECT tenant_id, invoice_id, sum(amount_nanos) AS amount_nanos, sum(wallet_nanos) AS wallet_nanos
    FROM credit_notes
    GROUP BY tenant_id, invoice_id
) AS note USING (tenant_id, invoice_id)
WHERE invoice.tenant_id = %(tenant_id)s AND invoice.invoice_id = %(invoice_id)s;

-- name: insert_settlement
INSERT INTO invoice_settlements (tenant_id, invoice_id, state, amount_nanos, settle_time, note)
VALUES (%(tenant_id)s, %(invoice_id)s, %(state)s, %(amount_nanos)s, %(settle_time)s, %(note)s);

-- name: insert_credit_note
INSERT INTO credit_notes (tenant_id, credit_note_number, invoice_id, currency, amount_nanos, tax_nanos, wallet_nanos,
    reason, create_time)
SELECT %(tenant_id)s, coalesce(max(credit_note_number), 0) + 1, %(invoice_id)s, %(currency)s, %(amount_nanos)s,
    %(tax_nanos)s, %(wallet_nanos)s, %(reason)s, %(create_time)s
FROM credit_notes
WHERE tenant_id = %(tenant_id)s
RETURNING credit_note_number, amount_nanos, tax_nanos, reason, create_time;

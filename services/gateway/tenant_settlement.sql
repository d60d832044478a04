-- name: read_open
SELECT
    (SELECT coalesce(sum(queued_count + running_count + quarantined_count), 0)::bigint
     FROM jobs
     WHERE tenant_id = %(tenant_id)s) AS open_image_count,
    (SELECT coalesce(sum(debits_pending), 0)::bigint
     FROM accounts
     WHERE tenant_id = %(tenant_id)s AND kind = 'WALLET') AS held_nanos,
    -- What costs nothing waits for no invoice that anybody has to pay.
    (SELECT count(*)
     FROM uninvoiced_usage AS waiting
     JOIN usage_records AS used USING (tenant_id, image_id)
     WHERE tenant_id = %(tenant_id)s AND used.price_nanos > 0) AS uninvoiced_count,
    ARRAY(SELECT invoice_id
          FROM invoices AS invoice
          WHERE tenant_id = %(tenant_id)s
              AND NOT EXISTS (SELECT
                              FROM invoice_settlements AS settlement
                              WHERE settlement.tenant_id = invoice.tenant_id
                                  AND settlement.invoice_id = invoice.invoice_id)
          ORDER BY invoice_id) AS unsettled_invoice_ids,
    (SELECT coalesce(sum(credits_posted - debits_posted), 0)::bigint
     FROM accounts
     WHERE tenant_id = %(tenant_id)s AND kind = 'WALLET') AS balance_nanos;

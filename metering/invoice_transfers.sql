-- name: note_transfers
INSERT INTO invoice_transfers (tenant_id, transfer_id, invoice_id)
SELECT %(tenant_id)s, transfer_id, %(invoice_id)s
FROM unnest(%(transfer_ids)s::bigint[]) AS transfer_id;

-- name: insert_single
INSERT INTO transfers (tenant_id, kind, debit_account, credit_account, amount_nanos, currency, image_id, job_id,
    reason, description, request_id)
VALUES (%(tenant_id)s, 'SINGLE', %(debit_account)s, %(credit_account)s, %(amount_nanos)s, %(currency)s, %(image_id)s,
    %(job_id)s, %(reason)s, %(description)s, %(request_id)s)
RETURNING transfer_id, tenant_id, kind, debit_account, credit_account, amount_nanos, currency, pending_id, image_id,
    job_id, reason, description, create_time;

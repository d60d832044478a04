-- name: get_chain
-- Where the next invoice begins, and when the first thing was charged that waits for it.
WITH newest AS (
    SELECT invoice_id, billing_period_end
    FROM invoices
    WHERE tenant_id = %(tenant_id)s
    ORDER BY billing_period_end DESC
    LIMIT 1
)
SELECT newest.invoice_id AS last_invoice_id, newest.billing_period_end AS last_end_time, (
    SELECT charge_time
    FROM usage_records AS used
    WHERE tenant_id = %(tenant_id)s AND charge_time >= coalesce(newest.billing_period_end, '-infinity')
        AND EXISTS (SELECT FROM uninvoiced_usage AS waiting
                    WHERE waiting.tenant_id = used.tenant_id AND waiting.image_id = used.image_id)
    ORDER BY charge_time
    LIMIT 1
) AS first_waiting_time
FROM (VALUES (1)) AS always LEFT JOIN newest ON true;

-- name: list_minimum_months
-- Months of the tenant's clock whose price asks for a minimum, whatever is used in them.
SELECT to_char(month, 'YYYY-MM')
FROM generate_series(%(first_month)s::timestamp, %(last_month)s::timestamp, interval '1 month') AS month
CROSS JOIN LATERAL (
    SELECT least(%(now)s,
        (month + interval '1 month') AT TIME ZONE %(time_zone)s - interval '1 microsecond') AS last_time
) AS period
CROSS JOIN LATERAL (
    SELECT price_book
    FROM tenant_price_books
    WHERE tenant_id = %(tenant_id)s AND effective_time <= period.last_time
    ORDER BY effective_time DESC
    LIMIT 1
) AS book
CROSS JOIN LATERAL (
    SELECT (document::jsonb ->> 'minimum_per_period_nanos')::bigint AS minimum_nanos
    FROM price_versions AS version
    WHERE version.price_book = book.price_book AND currency = %(currency)s AND effective_time <= period.last_time
    ORDER BY effective_time DESC
    LIMIT 1
) AS price
WHERE price.minimum_nanos > 0
ORDER BY month;

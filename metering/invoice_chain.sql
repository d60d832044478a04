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

-- name: list_owed_months
-- Months of the tenant's clock that owe something even if no image was charged: a minimum, or energy of its workers that
-- waited, where the price charges for that.
SELECT to_char(month, 'YYYY-MM')
FROM generate_series(%(first_month)s::timestamp, %(last_month)s::timestamp, interval '1 month') AS month
CROSS JOIN LATERAL (
    SELECT greatest(month AT TIME ZONE %(time_zone)s, %(since)s) AS start_time,
        (month + interval '1 month') AT TIME ZONE %(time_zone)s AS end_time,
        least(%(now)s, (month + interval '1 month') AT TIME ZONE %(time_zone)s - interval '1 microsecond') AS last_time
) AS period
CROSS JOIN LATERAL (
    SELECT price_book
    FROM tenant_price_books
    WHERE tenant_id = %(tenant_id)s AND effective_time <= period.last_time
    ORDER BY effective_time DESC
    LIMIT 1
) AS book
CROSS JOIN LATERAL (
    SELECT (document::jsonb ->> 'minimum_per_period_nanos')::bigint AS minimum_nanos,
        (document::jsonb ->> 'parked_kwh_price_nanos')::bigint AS parked_kwh_price_nanos,
        (document::jsonb ->> 'charge_estimated_energy')::boolean AS charge_estimated_energy
    FROM price_versions AS version
    WHERE version.price_book = book.price_book AND currency = %(currency)s AND effective_time <= period.last_time
    ORDER BY effective_time DESC
    LIMIT 1
) AS price
WHERE price.minimum_nanos > 0 OR (price.parked_kwh_price_nanos > 0 AND EXISTS (
    SELECT
    FROM parked_hours AS parked
    WHERE parked.tenant_id = %(tenant_id)s AND parked.hour_start_time >= period.start_time
        AND parked.hour_start_time < period.end_time AND parked.millijoules > 0
        AND (parked.source <> 'ESTIMATED' OR price.charge_estimated_energy)))
ORDER BY month;

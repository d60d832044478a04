-- name: insert_price_version
INSERT INTO price_versions (price_id, price_book, currency, effective_time, document, document_sha256)
VALUES (%(price_id)s, %(price_book)s, %(currency)s, %(effective_time)s, %(document)s, %(document_sha256)s)
RETURNING price_id, price_book, currency, effective_time, document, document_sha256, create_time;

-- name: get_price
SELECT price_id, price_book, currency, effective_time, document, document_sha256, create_time
FROM price_versions
WHERE price_id = %(price_id)s;

-- name: current_price
SELECT price_id, price_book, currency, effective_time, document, document_sha256, create_time
FROM price_versions
WHERE price_book = %(price_book)s AND currency = %(currency)s AND effective_time <= %(at)s
ORDER BY effective_time DESC
LIMIT 1;

-- name: price_in_force
-- By the book that the tenant bought at then, whatever it buys at now.
SELECT price_id, price_book, currency, effective_time, document, document_sha256, create_time
FROM price_versions
WHERE currency = %(currency)s AND effective_time <= %(at)s AND price_book = (
    SELECT price_book
    FROM tenant_price_books
    WHERE tenant_id = %(tenant_id)s AND effective_time <= %(at)s
    ORDER BY effective_time DESC
    LIMIT 1)
ORDER BY effective_time DESC
LIMIT 1;

-- name: list_prices
SELECT price_id, price_book, currency, effective_time, document, document_sha256, create_time
FROM price_versions
WHERE (%(price_book)s::text IS NULL OR price_book = %(price_book)s)
    AND (%(currency)s::text IS NULL OR currency = %(currency)s)
    AND (%(before_time)s::timestamptz IS NULL
         OR (effective_time, price_id) < (%(before_time)s, %(before_id)s::text))
ORDER BY effective_time DESC, price_id DESC
LIMIT %(limit)s;

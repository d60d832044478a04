-- name: insert_tenant
WITH made AS (
    INSERT INTO tenants (tenant_id, display_name, currency, price_book, legal_name, postal_address, vat_id, time_zone,
        allowed_models, queued_images_max, calls_per_minute_max, calls_in_flight_max, gpu_weight)
    VALUES (%(tenant_id)s, %(display_name)s, %(currency)s, %(price_book)s, %(legal_name)s, %(postal_address)s,
        %(vat_id)s, %(time_zone)s, %(allowed_models)s, %(queued_images_max)s,
        %(calls_per_minute_max)s, %(calls_in_flight_max)s, %(gpu_weight)s)
    ON CONFLICT (tenant_id) DO NOTHING
    RETURNING tenant_id, display_name, state, currency, price_book, legal_name, postal_address, vat_id, time_zone,
        allowed_models, queued_images_max, calls_per_minute_max, calls_in_flight_max, gpu_weight, default_output_format,
        create_time, update_time
), noted AS (
    INSERT INTO tenant_price_books (tenant_id, effective_time, price_book)
    SELECT tenant_id, '-infinity', price_book FROM made
)
SELECT tenant_id, display_name, state, currency, price_book, legal_name, postal_address, vat_id, time_zone,
    allowed_models, queued_images_max, calls_per_minute_max, calls_in_flight_max, gpu_weight, default_output_format,
    create_time, update_time
FROM made;

-- name: get_tenant
SELECT tenant_id, display_name, state, currency, price_book, legal_name, postal_address, vat_id, time_zone,
    allowed_models, queued_images_max, calls_per_minute_max, calls_in_flight_max, gpu_weight, default_output_format,
    create_time, update_time
FROM tenants
WHERE tenant_id = %(tenant_id)s;

-- name: list_tenants
SELECT tenant_id, display_name, state, currency, price_book, legal_name, postal_address, vat_id, time_zone,
    allowed_models, queued_images_max, calls_per_minute_max, calls_in_flight_max, gpu_weight, default_output_format,
    create_time, update_time
FROM tenants
WHERE tenant_id > %(after)s
ORDER BY tenant_id
LIMIT %(limit)s;

-- name: keep_from_leaving
-- As the foreign key of what is added does, only before its state is read.
SELECT FROM tenants WHERE tenant_id = %(tenant_id)s FOR KEY SHARE;

-- name: lock_tenant
SELECT tenant_id, display_name, state, currency, price_book, legal_name, postal_address, vat_id, time_zone,
    allowed_models, queued_images_max, calls_per_minute_max, calls_in_flight_max, gpu_weight, default_output_format,
    create_time, update_time
FROM tenants
WHERE tenant_id = %(tenant_id)s
FOR NO KEY UPDATE;

-- name: update_tenant
-- A book that is left stays known: the periods it was in force in are settled by it. The caller has locked the tenant.
WITH noted AS (
    INSERT INTO tenant_price_books (tenant_id, effective_time, price_book)
    SELECT tenant_id, clock_timestamp(), %(price_book)s
    FROM tenants
    WHERE tenant_id = %(tenant_id)s AND price_book <> %(price_book)s
)
UPDATE tenants
SET display_name = %(display_name)s, state = %(state)s, price_book = %(price_book)s, legal_name = %(legal_name)s,
    postal_address = %(postal_address)s, vat_id = %(vat_id)s, time_zone = %(time_zone)s,
    allowed_models = %(allowed_models)s, queued_images_max = %(queued_images_max)s,
    calls_per_minute_max = %(calls_per_minute_max)s, calls_in_flight_max = %(calls_in_flight_max)s,
    gpu_weight = %(gpu_weight)s, update_time = now()
WHERE tenant_id = %(tenant_id)s
RETURNING tenant_id, display_name, state, currency, price_book, legal_name, postal_address, vat_id, time_zone,
    allowed_models, queued_images_max, calls_per_minute_max, calls_in_flight_max, gpu_weight, default_output_format,
    create_time, update_time;

-- name: set_default_output_format
UPDATE tenants
SET default_output_format = %(output_format)s, update_time = now()
WHERE tenant_id = %(tenant_id)s
RETURNING tenant_id, display_name, state, currency, price_book, legal_name, postal_address, vat_id, time_zone,
    allowed_models, queued_images_max, calls_per_minute_max, calls_in_flight_max, gpu_weight, default_output_format,
    create_time, update_time;

-- What a tenant's own admin sets, and who may change what of a tenant.

-- NULL: the installation's default.
ALTER TABLE tenants
    ADD COLUMN default_output_format text CHECK (default_output_format IN ('PNG', 'JPEG', 'WEBP'));

-- A gateway's everyday role changes what a tenant's admin may set and nothing else: state, credit, books, quotas and the
-- names on invoices are changed by the operator's role, which never makes a tenant out of another or moves its currency.
REVOKE UPDATE ON tenants FROM atelier_gateway, atelier_operator;
GRANT UPDATE (default_output_format, update_time) ON tenants TO atelier_gateway;
GRANT UPDATE (display_name, state, price_book, legal_name, postal_address, vat_id, time_zone, allowed_models,
    queued_images_max, calls_per_minute_max, calls_in_flight_max, gpu_weight, update_time) ON tenants TO atelier_operator;

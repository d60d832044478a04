-- What the catalogue test (tests/integration/database/test_catalogue.py) found when it first read the schema.

-- A body that is looked up when it runs must not find a caller's temporary table before ours.
ALTER FUNCTION refuse_change() SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION list_unsealed_transfers() SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION list_uninvoiced_usage() SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION list_fresh_usage() SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION require_next_invoice_number() SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION require_next_credit_note_number() SET search_path = pg_catalog, public, pg_temp;

-- A worker chooses its session's id. As a key of all tenants it let one tenant's worker learn of, and occupy, another's:
-- unique checks look behind row-level security.
ALTER TABLE worker_sessions
    DROP CONSTRAINT worker_sessions_pkey,
    DROP CONSTRAINT worker_sessions_tenant_id_session_id_key,
    ADD PRIMARY KEY (tenant_id, session_id);

-- The housekeeper deletes progress by image; a preview is as private as its prompt.
REVOKE SELECT ON image_progress FROM atelier_housekeeper;
GRANT SELECT (tenant_id, image_id) ON image_progress TO atelier_housekeeper;
-- Said twice: the right on the whole table came later.
REVOKE SELECT (currency, state, tenant_id, time_zone) ON tenants FROM atelier_housekeeper;
GRANT SELECT ON tenants TO atelier_housekeeper;

-- The roles of the processes (who may do what: docs/architecture.md). Cluster-wide, so made by the administrator
-- before the first migration, every time, idempotently. Passwords are set by the migration runner.

-- name: make_roles
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['atelier_owner', 'atelier_gateway', 'atelier_operator', 'atelier_recorder',
        'atelier_meter_intake', 'atelier_fleet', 'atelier_housekeeper']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE', role_name);
        END IF;
    END LOOP;
END
$$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO atelier_owner;
GRANT USAGE ON SCHEMA public TO atelier_gateway, atelier_operator, atelier_recorder, atelier_meter_intake,
    atelier_fleet, atelier_housekeeper;

-- What the migration runner itself needs; the schema is in migrations/.

-- name: try_lock
SELECT pg_try_advisory_lock(%s)

-- name: list_applied
SELECT number, sha256 FROM applied_migrations ORDER BY number

-- name: make_extensions
-- Equality beside overlap in one exclusion constraint: billing periods of a tenant.
CREATE EXTENSION IF NOT EXISTS btree_gist

-- name: become_owner
SET LOCAL ROLE atelier_owner

-- name: back_to_administrator
RESET ROLE

-- name: note_applied
INSERT INTO applied_migrations (number, title, sha256) VALUES (%s, %s, %s)

-- Who did what, when, with which key, from where, and how it ended. Only grows: no role may change a row, and the
-- trigger refuses it to those who could.

CREATE TABLE audit_events (
    event_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Whom the call concerned; 'operator' for the installation. No foreign key: what was done to a tenant outlives it.
    tenant_id         text NOT NULL,
    -- Whose key it was.
    caller_tenant_id  text NOT NULL,
    key_id            text NOT NULL,
    role              text NOT NULL CHECK (role IN ('MEMBER', 'ADMIN', 'OPERATOR')),
    address           text NOT NULL DEFAULT '',
    -- 'JobService/CreateJob'.
    method            text NOT NULL,
    resource_name     text NOT NULL DEFAULT '',
    changed_fields    text[] NOT NULL DEFAULT '{}',
    request_id        text NOT NULL DEFAULT '',
    code              text NOT NULL,
    reason            text NOT NULL DEFAULT '',
    -- Refused calls of this key just before, which were not written down.
    omitted_count     integer NOT NULL DEFAULT 0 CHECK (omitted_count >= 0),
    create_time       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_events_of_tenant ON audit_events (tenant_id, event_id DESC);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE audit_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_events FORCE ROW LEVEL SECURITY;
CREATE POLICY gateway_of_tenant ON audit_events TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY operator_all ON audit_events TO atelier_operator USING (true);
GRANT SELECT, INSERT ON audit_events TO atelier_gateway, atelier_operator;

-- Whom an identity provider vouches for, and what that opens: one claim of one issuer, bound to a tenant by an operator.

-- Rows become visible before the tenant is known: those of the claims that a signed token made. SHA-256 sums, joined by
-- commas.
CREATE FUNCTION current_identity_keys() RETURNS text[]
    LANGUAGE sql STABLE
    RETURN string_to_array(nullif(current_setting('atelier.identity_keys', true), ''), ',');

CREATE TABLE identity_bindings (
    tenant_id         text NOT NULL REFERENCES tenants,
    binding_id        text NOT NULL,
    -- SHA-256 over issuer, claim and value, lower-case hexadecimal. Unique in the whole installation, so that no token
    -- is ever of two tenants by one claim.
    identity_key      text NOT NULL UNIQUE CHECK (identity_key ~ '^[0-9a-f]{64}$'),
    issuer            text NOT NULL CHECK (length(issuer) BETWEEN 1 AND 300),
    claim             text NOT NULL CHECK (length(claim) BETWEEN 1 AND 100),
    claim_value       text NOT NULL CHECK (length(claim_value) BETWEEN 1 AND 255),
    -- The operator is left out on purpose: whoever runs an identity provider makes no operators.
    role              text NOT NULL CHECK (role IN ('MEMBER', 'ADMIN')),
    project           text NOT NULL DEFAULT '',
    display_name      text NOT NULL DEFAULT '',
    -- Empty: from anywhere.
    allowed_networks  cidr[] NOT NULL DEFAULT '{}',
    create_time       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, binding_id)
);

ALTER TABLE identity_bindings ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity_bindings FORCE ROW LEVEL SECURITY;
CREATE POLICY gateway_of_tenant ON identity_bindings TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_identity_lookup ON identity_bindings FOR SELECT TO atelier_gateway
    USING (identity_key = ANY (current_identity_keys()));
CREATE POLICY operator_all ON identity_bindings TO atelier_operator USING (true);
-- No INSERT for the gateway: what serves tenants cannot let anybody in.
GRANT SELECT, DELETE ON identity_bindings TO atelier_gateway;
GRANT SELECT, INSERT ON identity_bindings TO atelier_operator;

-- Whose token it was, where the caller came with one in place of a key.
ALTER TABLE audit_events
    ADD COLUMN issuer text NOT NULL DEFAULT '',
    ADD COLUMN subject text NOT NULL DEFAULT '';

-- What the operator itself pays, beside the prices it sells at. Apart from price_versions, because every tenant's calls
-- read those: here only the operator's role has a right, so that no query of a tenant's call can tell its margin.

CREATE TABLE cost_versions (
    cost_id          text PRIMARY KEY,
    currency         text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    effective_time   timestamptz NOT NULL,
    -- The whole CostDocument (metering.cost_book), in canonical JSON; immutable.
    document         text NOT NULL,
    document_sha256  bytea NOT NULL CHECK (document_sha256 = sha256(convert_to(document, 'UTF8'))),
    create_time      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (currency, effective_time)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON cost_versions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
GRANT SELECT, INSERT ON cost_versions TO atelier_operator;

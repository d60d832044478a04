-- A tenant that is deleted: what a person wrote goes, ids, states and sums stay (docs/decisions/0030). And credit that is
-- paid back.

-- ---------------------------------------------------------------------------------------- states

ALTER TABLE tenants DROP CONSTRAINT tenants_state_check,
    ADD CONSTRAINT tenants_state_check CHECK (state IN ('ACTIVE', 'SUSPENDED', 'DELETING', 'DELETED'));

-- Who is leaving does not come back, and who has left never changes: the row keeps its id from being given again.
CREATE FUNCTION refuse_return_of_tenant() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF OLD.state = 'DELETED' OR (OLD.state = 'DELETING' AND NEW.state NOT IN ('DELETING', 'DELETED'))
        OR (NEW.state = 'DELETED' AND OLD.state <> 'DELETING') OR (NEW.state = 'DELETING' AND OLD.state = 'ACTIVE')
    THEN
        RAISE EXCEPTION 'tenant % is %, not to become %', OLD.tenant_id, OLD.state, NEW.state
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER no_return BEFORE UPDATE ON tenants FOR EACH ROW EXECUTE FUNCTION refuse_return_of_tenant();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON tenants FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- How far a deletion has come.
CREATE TABLE tenant_deletions (
    tenant_id    text PRIMARY KEY REFERENCES tenants,
    -- When the operator asked for it.
    delete_time  timestamptz NOT NULL DEFAULT now(),
    -- When the fleet had ended the tenant's processes and removed its broker's data and its sockets.
    clear_time   timestamptz,
    -- When nothing was left.
    end_time     timestamptz
);
CREATE INDEX tenant_deletions_open ON tenant_deletions (delete_time) WHERE end_time IS NULL;

-- ---------------------------------------------------------------------------------------- words

-- The words of a job and of its images, their usage and their events are taken away in one transaction; when, stands here,
-- so that nobody has to read a prompt to know whether it is still there.
ALTER TABLE jobs ADD COLUMN forget_time timestamptz;
CREATE INDEX jobs_to_forget ON jobs (tenant_id, job_id) WHERE forget_time IS NULL;

-- What records of usage are kept for (prices, quantities, joules) stays as it was, to the digit; what a person wrote beside
-- them may be emptied, of a tenant that is leaving and of nobody else.
CREATE FUNCTION allow_forgetting_words() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    OLD.labels := '{}';
    OLD.project := '';
    IF NEW IS DISTINCT FROM OLD
        OR NOT EXISTS (SELECT FROM tenants WHERE tenant_id = OLD.tenant_id AND state = 'DELETING')
    THEN
        RAISE EXCEPTION 'usage_records is append-only: UPDATE refused'
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Book a correction as a row of its own.';
    END IF;
    RETURN NEW;
END
$$;
DROP TRIGGER append_only ON usage_records;
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON usage_records
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER words_only BEFORE UPDATE ON usage_records
    FOR EACH ROW EXECUTE FUNCTION allow_forgetting_words();

-- Budgets are named by people; their counters are no money and nothing adds up to them once a tenant has left.
CREATE FUNCTION allow_forgetting_rows() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM tenants WHERE tenant_id = OLD.tenant_id AND state = 'DELETING') THEN
        RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Book a correction as a row of its own.';
    END IF;
    RETURN OLD;
END
$$;
DROP TRIGGER append_only ON job_budgets;
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON job_budgets FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER while_leaving BEFORE DELETE ON job_budgets FOR EACH ROW EXECUTE FUNCTION allow_forgetting_rows();
DROP TRIGGER append_only ON budget_alerts;
CREATE TRIGGER never_changed BEFORE UPDATE OR TRUNCATE ON budget_alerts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER while_leaving BEFORE DELETE ON budget_alerts FOR EACH ROW EXECUTE FUNCTION allow_forgetting_rows();

-- ---------------------------------------------------------------------------------------- refunds

ALTER TABLE transfers DROP CONSTRAINT transfers_reason_check,
    ADD CONSTRAINT transfers_reason_check CHECK (reason IN ('CREDIT_GRANT', 'REFUND', 'HOLD', 'CAPTURE', 'RELEASE',
        'WRITE_OFF', 'BREAKAGE', 'VOLUME_TIER', 'DISCOUNT', 'PARKED_ENERGY', 'MINIMUM', 'ADJUSTMENT', 'TAX', 'ROUNDING',
        'CREDIT_NOTE', 'PAYMENT', 'INVOICE_VOID'));
DROP INDEX transfers_of_credit;
CREATE INDEX transfers_of_credit ON transfers (tenant_id, create_time)
    WHERE reason IN ('CREDIT_GRANT', 'BREAKAGE', 'REFUND');
GRANT UPDATE (expired_nanos) ON credit_lots TO atelier_operator;

-- ---------------------------------------------------------------------------------------- rights

ALTER TABLE tenant_deletions ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_deletions FORCE ROW LEVEL SECURITY;
CREATE POLICY operator_all ON tenant_deletions TO atelier_operator USING (true);
CREATE POLICY fleet_all ON tenant_deletions TO atelier_fleet USING (true);
CREATE POLICY housekeeper_all ON tenant_deletions TO atelier_housekeeper USING (true);
GRANT SELECT, INSERT ON tenant_deletions TO atelier_operator;
GRANT SELECT, UPDATE (clear_time) ON tenant_deletions TO atelier_fleet;
GRANT SELECT, UPDATE (end_time) ON tenant_deletions TO atelier_housekeeper;

DROP POLICY housekeeper_all ON tenants;
CREATE POLICY housekeeper_all ON tenants TO atelier_housekeeper USING (true);
GRANT UPDATE (state, display_name, legal_name, postal_address, vat_id, update_time) ON tenants TO atelier_housekeeper;
CREATE POLICY housekeeper_all ON api_keys TO atelier_housekeeper USING (true);
CREATE POLICY housekeeper_all ON requests TO atelier_housekeeper USING (true);
GRANT SELECT (tenant_id, key_id), DELETE ON api_keys TO atelier_housekeeper;
GRANT SELECT (tenant_id, request_id), DELETE ON requests TO atelier_housekeeper;
-- It writes over prompts and never reads one.
GRANT UPDATE (prompt, negative_prompt, labels, client_ref, traceparent) ON images TO atelier_housekeeper;
GRANT UPDATE (labels, project) ON usage_records TO atelier_housekeeper;
GRANT DELETE ON pictures, job_events, budgets, budget_periods, job_budgets, budget_alerts TO atelier_housekeeper;
-- To delete previews by their job.
GRANT SELECT (job_id) ON image_progress TO atelier_housekeeper;

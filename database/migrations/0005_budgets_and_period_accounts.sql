-- Budgets as guarded counters, and the accounts that a period's end books to.

-- RECEIVABLE: what the tenant owes beside its wallet (tax, rounding, what the wallet could not carry) · TAX and ROUNDING:
-- what an invoice adds to its net · BREAKAGE: credit that expired.
ALTER TABLE accounts DROP CONSTRAINT accounts_kind_check;
ALTER TABLE accounts ADD CONSTRAINT accounts_kind_check
    CHECK (kind IN ('WALLET', 'REVENUE', 'FUNDING', 'WRITE_OFF', 'BREAKAGE', 'RECEIVABLE', 'TAX', 'ROUNDING'));
ALTER TABLE transfers DROP CONSTRAINT transfers_reason_check;
ALTER TABLE transfers ADD CONSTRAINT transfers_reason_check
    CHECK (reason IN ('CREDIT_GRANT', 'HOLD', 'CAPTURE', 'RELEASE', 'WRITE_OFF', 'BREAKAGE', 'VOLUME_TIER', 'DISCOUNT',
        'MINIMUM', 'ADJUSTMENT', 'TAX', 'ROUNDING', 'CREDIT_NOTE', 'PAYMENT'));

-- Tenants of before have the new accounts too. The owner sees rows only while its tables do not force it.
ALTER TABLE accounts NO FORCE ROW LEVEL SECURITY;
INSERT INTO accounts (tenant_id, kind, currency, guarded)
SELECT wallet.tenant_id, added.kind, wallet.currency, false
FROM accounts AS wallet
CROSS JOIN unnest(ARRAY['BREAKAGE', 'RECEIVABLE', 'TAX', 'ROUNDING']) AS added (kind)
WHERE wallet.kind = 'WALLET';
ALTER TABLE accounts FORCE ROW LEVEL SECURITY;

-- ---------------------------------------------------------------------------------------- budgets

CREATE TABLE budgets (
    tenant_id    text NOT NULL REFERENCES tenants,
    budget_id    text NOT NULL CHECK (budget_id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    -- Empty: every project, every key.
    project      text NOT NULL DEFAULT '',
    key_id       text NOT NULL DEFAULT '',
    period       text NOT NULL CHECK (period IN ('DAY', 'MONTH', 'TOTAL')),
    enforcement  text NOT NULL CHECK (enforcement IN ('HARD', 'SOFT')),
    limit_nanos  bigint NOT NULL CHECK (limit_nanos >= 0),
    currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    create_time  timestamptz NOT NULL DEFAULT now(),
    update_time  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, budget_id)
);

-- A period in the tenant's clock; a budget for good has one that never ends.
CREATE FUNCTION budget_period_start(period text, time_zone text, at timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE
    RETURN CASE period
        WHEN 'TOTAL' THEN timestamptz '1970-01-01 00:00:00+00'
        ELSE date_trunc(lower(period), at, time_zone)
    END;

CREATE FUNCTION budget_period_end(period text, time_zone text, at timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE
    RETURN CASE period
        WHEN 'TOTAL' THEN timestamptz 'infinity'
        -- A day of the clock may have 23 or 25 hours: the next midnight is found in local time.
        ELSE (date_trunc(lower(period), at AT TIME ZONE time_zone) + ('1 ' || lower(period))::interval)
            AT TIME ZONE time_zone
    END;

-- What is held and spent of a budget in one of its periods. A job counts in the period it was accepted in.
CREATE TABLE budget_periods (
    tenant_id     text NOT NULL,
    budget_id     text NOT NULL,
    period_start  timestamptz NOT NULL,
    period_end    timestamptz NOT NULL CHECK (period_end > period_start),
    limit_nanos   bigint NOT NULL CHECK (limit_nanos >= 0),
    guarded       boolean NOT NULL,
    held_nanos    bigint NOT NULL DEFAULT 0 CHECK (held_nanos >= 0),
    spent_nanos   bigint NOT NULL DEFAULT 0 CHECK (spent_nanos >= 0),
    -- What was used above the limit when the limit was lowered; the next acceptance may not use it.
    excess_nanos  bigint NOT NULL DEFAULT 0 CHECK (excess_nanos >= 0),
    PRIMARY KEY (tenant_id, budget_id, period_start),
    CONSTRAINT budget_guard CHECK (NOT guarded OR held_nanos + spent_nanos <= limit_nanos + excess_nanos),
    FOREIGN KEY (tenant_id, budget_id) REFERENCES budgets (tenant_id, budget_id)
);

-- Which counters carry a job's holds; written when it is accepted, whatever its budgets become.
CREATE TABLE job_budgets (
    tenant_id     text NOT NULL,
    job_id        text NOT NULL,
    budget_id     text NOT NULL,
    period_start  timestamptz NOT NULL,
    PRIMARY KEY (job_id, budget_id),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, job_id),
    FOREIGN KEY (tenant_id, budget_id, period_start) REFERENCES budget_periods (tenant_id, budget_id, period_start)
);
CREATE INDEX job_budgets_by_budget ON job_budgets (tenant_id, budget_id, period_start);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON job_budgets
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Told once in each period.
CREATE TABLE budget_alerts (
    tenant_id     text NOT NULL,
    budget_id     text NOT NULL,
    period_start  timestamptz NOT NULL,
    percent       smallint NOT NULL CHECK (percent IN (50, 80, 100)),
    -- Held and spent when it was reached, and the limit of then.
    used_nanos    bigint NOT NULL CHECK (used_nanos >= 0),
    limit_nanos   bigint NOT NULL CHECK (limit_nanos >= 0),
    create_time   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, budget_id, period_start, percent),
    FOREIGN KEY (tenant_id, budget_id, period_start) REFERENCES budget_periods (tenant_id, budget_id, period_start)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON budget_alerts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What a job's holds came to: whoever proves the counters asks.
CREATE INDEX transfers_of_job ON transfers (job_id) WHERE kind = 'PENDING';

-- ---------------------------------------------------------------------------------------- rights

DO $$
DECLARE
    relation regclass;
BEGIN
    FOREACH relation IN ARRAY ARRAY['budgets', 'budget_periods', 'job_budgets', 'budget_alerts']::regclass[]
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', relation);
        EXECUTE format('CREATE POLICY gateway_of_tenant ON %s TO atelier_gateway
            USING (tenant_id = current_tenant_id())', relation);
        EXECUTE format('CREATE POLICY operator_all ON %s TO atelier_operator USING (true)', relation);
        EXECUTE format('CREATE POLICY housekeeper_all ON %s TO atelier_housekeeper USING (true)', relation);
    END LOOP;
END
$$;
CREATE POLICY recorder_of_tenant ON budget_periods TO atelier_recorder USING (tenant_id = current_tenant_id());
CREATE POLICY recorder_of_tenant ON job_budgets FOR SELECT TO atelier_recorder USING (tenant_id = current_tenant_id());

GRANT SELECT, INSERT, UPDATE ON budgets TO atelier_gateway;
GRANT SELECT, INSERT ON budget_periods, job_budgets, budget_alerts TO atelier_gateway;
GRANT UPDATE (limit_nanos, guarded, held_nanos, spent_nanos, excess_nanos) ON budget_periods TO atelier_gateway;
GRANT SELECT ON budgets, budget_periods, job_budgets, budget_alerts TO atelier_operator, atelier_housekeeper;
GRANT SELECT ON budget_periods, job_budgets TO atelier_recorder;
GRANT UPDATE (held_nanos, spent_nanos) ON budget_periods TO atelier_recorder, atelier_housekeeper;

-- The housekeeper opens accounts that a period's end books to, and may forget none.
GRANT INSERT ON accounts TO atelier_housekeeper;

-- The tables of the whole chain, their owners' rights, and who sees which row.
--
-- Rules that hold for every table here and later (tests/integration/database proves them):
--   * atelier_owner owns it; no process logs in as atelier_owner.
--   * With a tenant_id: row-level security enabled and forced, policies name their role.
--   * Policies of roles that serve one tenant at a time compare with the transaction's tenant; unset means no rows.
--   * Money is a bigint of nanos beside a currency; energy a bigint of millijoules; times are timestamptz.

CREATE FUNCTION current_tenant_id() RETURNS text
    LANGUAGE sql STABLE
    RETURN nullif(current_setting('atelier.tenant_id', true), '');

-- One row of api_keys becomes visible before the tenant is known: the one whose id the caller presented.
CREATE FUNCTION current_key_id() RETURNS text
    LANGUAGE sql STABLE
    RETURN nullif(current_setting('atelier.key_id', true), '');

CREATE FUNCTION refuse_change() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation',
              HINT = 'Book a correction as a row of its own.';
END
$$;

-- ---------------------------------------------------------------------------------------- who

CREATE TABLE tenants (
    tenant_id       text PRIMARY KEY CHECK (tenant_id ~ '^[a-z][a-z0-9-]{1,30}$' AND tenant_id <> 'operator'),
    display_name    text NOT NULL CHECK (length(display_name) BETWEEN 1 AND 120),
    state           text NOT NULL DEFAULT 'ACTIVE' CHECK (state IN ('ACTIVE', 'SUSPENDED')),
    currency        text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    price_book      text NOT NULL DEFAULT 'standard',
    legal_name      text NOT NULL DEFAULT '',
    postal_address  text NOT NULL DEFAULT '',
    vat_id          text NOT NULL DEFAULT '',
    time_zone       text NOT NULL DEFAULT 'UTC',
    -- NULL: every model of the catalogue.
    allowed_models  text[],
    queued_images_max bigint NOT NULL DEFAULT 100000 CHECK (queued_images_max > 0),
    create_time     timestamptz NOT NULL DEFAULT now(),
    update_time     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
    -- 'operator' for operators' keys; no foreign key, because that is no tenant.
    tenant_id     text NOT NULL,
    key_id        text NOT NULL PRIMARY KEY,
    display_name  text NOT NULL DEFAULT '',
    role          text NOT NULL CHECK (role IN ('MEMBER', 'ADMIN', 'OPERATOR')),
    project       text NOT NULL DEFAULT '',
    secret_hmac   bytea NOT NULL CHECK (length(secret_hmac) = 32),
    create_time   timestamptz NOT NULL DEFAULT now(),
    expire_time   timestamptz,
    revoke_time   timestamptz,
    CHECK ((role = 'OPERATOR') = (tenant_id = 'operator')),
    UNIQUE (tenant_id, key_id)
);

-- The answer to a call that must happen once. The row comes first in its transaction: a second
-- caller waits on the unique key and then finds the answer.
CREATE TABLE requests (
    tenant_id      text NOT NULL,
    request_id     uuid NOT NULL,
    method         text NOT NULL,
    body_sha256    bytea NOT NULL CHECK (length(body_sha256) = 32),
    -- Resource name of what the first call made.
    resource_name  text NOT NULL DEFAULT '',
    create_time    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, request_id)
);

-- ---------------------------------------------------------------------------------------- prices

CREATE TABLE price_versions (
    price_id         text PRIMARY KEY,
    price_book       text NOT NULL,
    currency         text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    effective_time   timestamptz NOT NULL,
    -- The whole PriceDocument (metering.price_book), in canonical JSON; immutable.
    document         text NOT NULL,
    document_sha256  bytea NOT NULL CHECK (document_sha256 = sha256(convert_to(document, 'UTF8'))),
    create_time      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (price_book, currency, effective_time)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON price_versions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- ---------------------------------------------------------------------------------------- jobs

CREATE TABLE jobs (
    tenant_id         text NOT NULL REFERENCES tenants,
    job_id            text NOT NULL PRIMARY KEY,
    state             text NOT NULL CHECK (state IN ('QUEUED', 'RUNNING', 'CANCELLING', 'AWAITING_REVIEW',
                          'SUCCEEDED', 'PARTIALLY_SUCCEEDED', 'CANCELLED', 'FAILED')),
    display_name      text NOT NULL DEFAULT '',
    tier              text NOT NULL CHECK (tier IN ('INTERACTIVE', 'BATCH')),
    project           text NOT NULL DEFAULT '',
    labels            jsonb NOT NULL DEFAULT '{}',
    key_id            text NOT NULL,
    price_id          text NOT NULL REFERENCES price_versions,
    currency          text NOT NULL,
    hold_nanos        bigint NOT NULL CHECK (hold_nanos >= 0),
    max_cost_nanos    bigint CHECK (max_cost_nanos >= hold_nanos),
    retry_of          text,
    deadline_time     timestamptz,
    cancel_wish_time  timestamptz,
    create_time       timestamptz NOT NULL DEFAULT now(),
    start_time        timestamptz,
    end_time          timestamptz,
    -- When one of its images was last handed out: the jobs of a tenant take turns.
    last_claim_time   timestamptz,
    image_count       integer NOT NULL CHECK (image_count BETWEEN 1 AND 1000),
    queued_count      integer NOT NULL CHECK (queued_count >= 0),
    running_count     integer NOT NULL DEFAULT 0 CHECK (running_count >= 0),
    quarantined_count integer NOT NULL DEFAULT 0 CHECK (quarantined_count >= 0),
    succeeded_count   integer NOT NULL DEFAULT 0 CHECK (succeeded_count >= 0),
    failed_count      integer NOT NULL DEFAULT 0 CHECK (failed_count >= 0),
    blocked_count     integer NOT NULL DEFAULT 0 CHECK (blocked_count >= 0),
    cancelled_count   integer NOT NULL DEFAULT 0 CHECK (cancelled_count >= 0),
    -- Number of the job's newest event; events are numbered under this row's lock.
    last_event_number bigint NOT NULL DEFAULT 0,
    CHECK (queued_count + running_count + quarantined_count + succeeded_count + failed_count
           + blocked_count + cancelled_count = image_count),
    UNIQUE (tenant_id, job_id),
    FOREIGN KEY (tenant_id, retry_of) REFERENCES jobs (tenant_id, job_id)
);
CREATE INDEX jobs_by_time ON jobs (tenant_id, create_time DESC, job_id DESC);
CREATE INDEX jobs_with_queued_images ON jobs (tenant_id, tier, last_claim_time NULLS FIRST, create_time)
    WHERE queued_count > 0;

CREATE TABLE images (
    tenant_id            text NOT NULL,
    job_id               text NOT NULL,
    image_id             text NOT NULL PRIMARY KEY,
    -- Position in the job, from 1.
    image_number         integer NOT NULL CHECK (image_number BETWEEN 1 AND 1000),
    state                text NOT NULL CHECK (state IN ('QUEUED', 'RUNNING', 'QUARANTINED', 'SUCCEEDED', 'FAILED',
                             'BLOCKED', 'CANCELLED')),
    tier                 text NOT NULL CHECK (tier IN ('INTERACTIVE', 'BATCH')),
    model                text NOT NULL,
    prompt               text NOT NULL,
    negative_prompt      text NOT NULL DEFAULT '',
    width                integer NOT NULL CHECK (width > 0 AND width % 16 = 0),
    height               integer NOT NULL CHECK (height > 0 AND height % 16 = 0),
    num_inference_steps  integer NOT NULL CHECK (num_inference_steps > 0),
    guidance_scale       double precision NOT NULL,
    seed                 numeric(20, 0) NOT NULL CHECK (seed BETWEEN 0 AND 18446744073709551615),
    max_sequence_length  integer NOT NULL CHECK (max_sequence_length > 0),
    output_format        text NOT NULL CHECK (output_format IN ('PNG', 'JPEG', 'WEBP')),
    output_quality       integer NOT NULL CHECK (output_quality BETWEEN 1 AND 100),
    labels               jsonb NOT NULL DEFAULT '{}',
    client_ref           text,
    -- The newest attempt; 0 before the first. The fence of every move (page A of the image's states).
    attempt              integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    claim_token          uuid,
    session_id           text,
    -- Attempts lost after a step had begun; from the first on the image runs alone, the third ends it.
    lost_attempt_count   integer NOT NULL DEFAULT 0 CHECK (lost_attempt_count BETWEEN 0 AND 3),
    hold_transfer_id     bigint,
    hold_nanos           bigint NOT NULL CHECK (hold_nanos >= 0),
    cancel_wish_time     timestamptz,
    deadline_time        timestamptz,
    failure_reason       text,
    failure_message      text,
    traceparent          text NOT NULL DEFAULT '',
    create_time          timestamptz NOT NULL DEFAULT now(),
    start_time           timestamptz,
    end_time             timestamptz,
    CHECK ((state = 'RUNNING') = (claim_token IS NOT NULL)),
    CHECK ((state IN ('QUEUED', 'RUNNING', 'QUARANTINED')) = (end_time IS NULL)),
    UNIQUE (tenant_id, image_id),
    UNIQUE (job_id, image_number),
    UNIQUE (job_id, client_ref),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, job_id)
);
CREATE INDEX images_claimable ON images (job_id, model, image_number) WHERE state = 'QUEUED';
CREATE INDEX images_running ON images (session_id) WHERE state = 'RUNNING';
CREATE INDEX images_with_deadline ON images (deadline_time)
    WHERE deadline_time IS NOT NULL AND state IN ('QUEUED', 'RUNNING');

-- One row for each claim, kept for good: the outcome decides where the attempt's joules are booked.
CREATE TABLE attempts (
    tenant_id         text NOT NULL,
    image_id          text NOT NULL,
    attempt           integer NOT NULL CHECK (attempt > 0),
    job_id            text NOT NULL,
    session_id        text NOT NULL,
    claim_token       uuid NOT NULL,
    gpu_id            text NOT NULL,
    model             text NOT NULL,
    claim_time        timestamptz NOT NULL DEFAULT now(),
    end_time          timestamptz,
    -- NULL while it runs.
    outcome           text CHECK (outcome IN ('SUCCEEDED', 'QUARANTINED', 'FAILED', 'BLOCKED', 'CANCELLED',
                          'HANDED_BACK', 'LOST', 'EXPIRED')),
    -- Steps seen so far; a lost attempt counts only if one had begun.
    began_step        boolean NOT NULL DEFAULT false,
    last_mark_number  bigint,
    gpu_seconds       double precision,
    queue_seconds     double precision,
    PRIMARY KEY (image_id, attempt),
    UNIQUE (claim_token),
    FOREIGN KEY (tenant_id, image_id) REFERENCES images (tenant_id, image_id),
    CHECK ((outcome IS NULL) = (end_time IS NULL))
);
CREATE INDEX attempts_of_session ON attempts (session_id) WHERE outcome IS NULL;

-- What became of a picture that was accepted.
CREATE TABLE pictures (
    tenant_id     text NOT NULL,
    image_id      text NOT NULL PRIMARY KEY,
    attempt       integer NOT NULL,
    sha256        text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    byte_count    bigint NOT NULL CHECK (byte_count > 0),
    content_type  text NOT NULL,
    width         integer NOT NULL,
    height        integer NOT NULL,
    -- Path in the object store; the bytes are in the recorder's spool until store_time is set.
    object_path   text NOT NULL,
    spool_name    text NOT NULL,
    store_time    timestamptz,
    create_time   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, image_id) REFERENCES images (tenant_id, image_id)
);
CREATE INDEX pictures_to_store ON pictures (create_time) WHERE store_time IS NULL;

CREATE TABLE job_events (
    tenant_id     text NOT NULL,
    job_id        text NOT NULL,
    event_number  bigint NOT NULL CHECK (event_number > 0),
    kind          text NOT NULL CHECK (kind IN ('JOB_STATE', 'IMAGE_STATE')),
    job_state     text NOT NULL,
    image_id      text,
    image_state   text,
    create_time   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, event_number),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, job_id)
);

-- Progress is not an event: it overwrites one row and may be lost with a crash.
CREATE UNLOGGED TABLE image_progress (
    tenant_id    text NOT NULL,
    image_id     text PRIMARY KEY,
    job_id       text NOT NULL,
    attempt      integer NOT NULL,
    step         integer NOT NULL,
    step_count   integer NOT NULL,
    preview      bytea,
    update_time  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX image_progress_of_job ON image_progress (job_id);

-- ---------------------------------------------------------------------------------------- workers

CREATE TABLE worker_sessions (
    tenant_id               text NOT NULL REFERENCES tenants,
    session_id              text PRIMARY KEY,
    gpu_id                  text NOT NULL,
    model                   text NOT NULL,
    process_id              bigint NOT NULL DEFAULT 0,
    ready                   boolean NOT NULL DEFAULT false,
    drain                   boolean NOT NULL DEFAULT false,
    waiting_tokens          integer NOT NULL DEFAULT 0,
    batch_slots_free        integer NOT NULL DEFAULT 0,
    interactive_slots_free  integer NOT NULL DEFAULT 0,
    engine_step_counter     bigint NOT NULL DEFAULT 0,
    start_time              timestamptz NOT NULL DEFAULT now(),
    -- Renewed by each heartbeat, on the database's clock.
    lease_expire_time       timestamptz NOT NULL,
    end_time                timestamptz,
    UNIQUE (tenant_id, session_id)
);
CREATE INDEX worker_sessions_alive ON worker_sessions (lease_expire_time) WHERE end_time IS NULL;

-- What the fleet started, for the operator's eyes and for a fleet that comes back.
CREATE TABLE workers (
    tenant_id    text NOT NULL REFERENCES tenants,
    gpu_id       text NOT NULL,
    model        text NOT NULL,
    launcher     text NOT NULL CHECK (launcher IN ('process', 'sandbox', 'container')),
    process_id   bigint,
    state        text NOT NULL CHECK (state IN ('STARTING', 'RUNNING', 'DRAINING', 'STOPPED')),
    restart_count integer NOT NULL DEFAULT 0,
    update_time  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gpu_id)
);

-- ---------------------------------------------------------------------------------------- energy

CREATE TABLE gpus (
    gpu_id        text PRIMARY KEY,
    display_name  text NOT NULL DEFAULT '',
    create_time   timestamptz NOT NULL DEFAULT now()
);

-- The edges of what the counter showed, by epoch and UTC hour; the segments must add up to them.
CREATE TABLE energy_readings (
    gpu_id              text NOT NULL REFERENCES gpus,
    epoch               bigint NOT NULL,
    hour_start_time     timestamptz NOT NULL CHECK (hour_start_time = date_trunc('hour', hour_start_time, 'UTC')),
    first_millijoules   bigint NOT NULL,
    first_read_time     timestamptz NOT NULL,
    last_millijoules    bigint NOT NULL CHECK (last_millijoules >= first_millijoules),
    last_read_time      timestamptz NOT NULL,
    last_number         bigint NOT NULL,
    source              text NOT NULL CHECK (source IN ('NVML_COUNTER', 'NVML_POWER', 'RAPL', 'ESTIMATED')),
    PRIMARY KEY (gpu_id, epoch, hour_start_time)
);

CREATE TABLE energy_segments (
    gpu_id             text NOT NULL REFERENCES gpus,
    epoch              bigint NOT NULL,
    number             bigint NOT NULL CHECK (number > 0),
    start_time         timestamptz NOT NULL,
    end_time           timestamptz NOT NULL CHECK (end_time >= start_time),
    hour_start_time    timestamptz NOT NULL,
    millijoules        bigint NOT NULL CHECK (millijoules >= 0),
    error_millijoules  bigint NOT NULL CHECK (error_millijoules >= 0),
    kind               text NOT NULL CHECK (kind IN ('WORK', 'LOAD', 'PARKED', 'SILENT', 'FREE', 'UNKNOWN')),
    source             text NOT NULL CHECK (source IN ('NVML_COUNTER', 'NVML_POWER', 'RAPL', 'ESTIMATED')),
    -- NULL when nobody's worker was there.
    tenant_id          text,
    session_id         text,
    last_mark_number   bigint,
    PRIMARY KEY (gpu_id, epoch, number)
);
CREATE INDEX energy_segments_of_hour ON energy_segments (gpu_id, hour_start_time);
CREATE INDEX energy_segments_of_session ON energy_segments (session_id, last_mark_number);
CREATE INDEX energy_segments_silent ON energy_segments (session_id, end_time) WHERE kind = 'SILENT';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON energy_segments
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- No foreign key to images: a worker may name what it likes in its marks, and a joule is booked all the same.
CREATE TABLE energy_shares (
    tenant_id          text NOT NULL,
    gpu_id             text NOT NULL,
    epoch              bigint NOT NULL,
    number             bigint NOT NULL,
    image_id           text NOT NULL,
    attempt            integer NOT NULL,
    millijoules        bigint NOT NULL CHECK (millijoules >= 0),
    error_millijoules  bigint NOT NULL CHECK (error_millijoules >= 0),
    PRIMARY KEY (gpu_id, epoch, number, image_id, attempt),
    FOREIGN KEY (gpu_id, epoch, number) REFERENCES energy_segments (gpu_id, epoch, number)
);
CREATE INDEX energy_shares_of_image ON energy_shares (image_id, attempt);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON energy_shares
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- ---------------------------------------------------------------------------------------- ledger

CREATE TABLE accounts (
    tenant_id            text NOT NULL REFERENCES tenants,
    -- WALLET: what the tenant may spend · REVENUE: what it spent · FUNDING: where its credit comes from ·
    -- WRITE_OFF: what exceeded a hold and was not charged.
    kind                 text NOT NULL CHECK (kind IN ('WALLET', 'REVENUE', 'FUNDING', 'WRITE_OFF')),
    currency             text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    debits_pending       bigint NOT NULL DEFAULT 0 CHECK (debits_pending >= 0),
    debits_posted        bigint NOT NULL DEFAULT 0 CHECK (debits_posted >= 0),
    credits_pending      bigint NOT NULL DEFAULT 0 CHECK (credits_pending >= 0),
    credits_posted       bigint NOT NULL DEFAULT 0 CHECK (credits_posted >= 0),
    -- Guarded: no code path can spend more than was credited plus the limit.
    guarded              boolean NOT NULL,
    credit_limit_nanos   bigint NOT NULL DEFAULT 0 CHECK (credit_limit_nanos >= 0),
    PRIMARY KEY (tenant_id, kind, currency),
    CONSTRAINT balance_guard
        CHECK (NOT guarded OR debits_pending + debits_posted <= credits_posted + credit_limit_nanos),
    CHECK (guarded = (kind = 'WALLET'))
);

CREATE TABLE transfers (
    transfer_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id         text NOT NULL,
    -- SINGLE moves money at once; PENDING reserves it; POST (up to the hold) and VOID resolve one PENDING.
    kind              text NOT NULL CHECK (kind IN ('SINGLE', 'PENDING', 'POST', 'VOID')),
    debit_account     text NOT NULL,
    credit_account    text NOT NULL CHECK (credit_account <> debit_account),
    amount_nanos      bigint NOT NULL CHECK (amount_nanos >= 0),
    currency          text NOT NULL,
    -- The hold that this row resolves.
    pending_id        bigint,
    image_id          text,
    job_id            text,
    reason            text NOT NULL CHECK (reason IN ('CREDIT_GRANT', 'HOLD', 'CAPTURE', 'RELEASE', 'WRITE_OFF')),
    description       text NOT NULL DEFAULT '',
    request_id        uuid,
    create_time       timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind IN ('POST', 'VOID')) = (pending_id IS NOT NULL)),
    -- Across tenants or currencies no row can point: the accounts' key carries both.
    FOREIGN KEY (tenant_id, debit_account, currency) REFERENCES accounts (tenant_id, kind, currency),
    FOREIGN KEY (tenant_id, credit_account, currency) REFERENCES accounts (tenant_id, kind, currency),
    UNIQUE (tenant_id, transfer_id),
    FOREIGN KEY (tenant_id, pending_id) REFERENCES transfers (tenant_id, transfer_id),
    FOREIGN KEY (tenant_id, image_id) REFERENCES images (tenant_id, image_id)
);
-- Each hold resolves once, each image is held and charged once.
CREATE UNIQUE INDEX transfers_resolve_once ON transfers (pending_id) WHERE pending_id IS NOT NULL;
CREATE UNIQUE INDEX transfers_hold_once ON transfers (image_id) WHERE kind = 'PENDING';
CREATE UNIQUE INDEX transfers_capture_once ON transfers (image_id) WHERE kind = 'POST';
CREATE INDEX transfers_of_tenant ON transfers (tenant_id, transfer_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE images ADD FOREIGN KEY (tenant_id, hold_transfer_id)
    REFERENCES transfers (tenant_id, transfer_id) DEFERRABLE INITIALLY DEFERRED;

-- ---------------------------------------------------------------------------------------- usage

-- One row for each image that reached an end worth telling; charged ones carry their receipt.
CREATE TABLE usage_records (
    tenant_id                 text NOT NULL,
    image_id                  text NOT NULL PRIMARY KEY,
    job_id                    text NOT NULL,
    attempt                   integer NOT NULL,
    outcome                   text NOT NULL CHECK (outcome IN ('SUCCEEDED', 'FAILED', 'BLOCKED', 'CANCELLED')),
    failure_reason            text,
    key_id                    text NOT NULL,
    project                   text NOT NULL,
    model                     text NOT NULL,
    precision                 text NOT NULL DEFAULT '',
    tier                      text NOT NULL,
    width                     integer NOT NULL,
    height                    integer NOT NULL,
    num_inference_steps       integer NOT NULL,
    seed                      numeric(20, 0) NOT NULL,
    gpu_id                    text,
    session_id                text,
    last_mark_number          bigint,
    batch_shares              jsonb NOT NULL DEFAULT '[]',
    gpu_seconds               double precision NOT NULL DEFAULT 0 CHECK (gpu_seconds >= 0),
    queue_seconds             double precision NOT NULL DEFAULT 0 CHECK (queue_seconds >= 0),
    -- What was known when the price was made; later shares amend the receipt (energy_shares), never the price.
    energy_millijoules        bigint NOT NULL DEFAULT 0 CHECK (energy_millijoules >= 0),
    energy_error_millijoules  bigint NOT NULL DEFAULT 0 CHECK (energy_error_millijoules >= 0),
    energy_source             text NOT NULL CHECK (energy_source IN ('NVML_COUNTER', 'NVML_POWER', 'RAPL', 'ESTIMATED',
                                  'PARTIAL', 'NONE')),
    price_id                  text NOT NULL REFERENCES price_versions,
    price_nanos               bigint NOT NULL CHECK (price_nanos >= 0),
    currency                  text NOT NULL,
    charge_time               timestamptz NOT NULL DEFAULT now(),
    CHECK (outcome = 'SUCCEEDED' OR price_nanos = 0),
    UNIQUE (tenant_id, image_id),
    FOREIGN KEY (tenant_id, image_id) REFERENCES images (tenant_id, image_id)
);
CREATE INDEX usage_records_by_time ON usage_records (tenant_id, charge_time, image_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON usage_records
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE usage_lines (
    tenant_id               text NOT NULL,
    image_id                text NOT NULL,
    line_number             integer NOT NULL CHECK (line_number > 0),
    component               text NOT NULL,
    consumed_quantity       numeric NOT NULL CHECK (consumed_quantity >= 0),
    consumed_unit           text NOT NULL,
    list_unit_price_nanos   numeric NOT NULL,
    billed_cost_nanos       bigint NOT NULL,
    PRIMARY KEY (image_id, line_number),
    FOREIGN KEY (tenant_id, image_id) REFERENCES usage_records (tenant_id, image_id)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON usage_lines
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- ---------------------------------------------------------------------------------------- invoices

-- Drafts are derived from usage whenever somebody looks; a row appears when one is finalized.
CREATE TABLE invoices (
    tenant_id             text NOT NULL REFERENCES tenants,
    -- The period, such as 2026-11, in the tenant's time zone.
    invoice_id            text NOT NULL CHECK (invoice_id ~ '^[0-9]{4}-[0-9]{2}$'),
    invoice_number        bigint NOT NULL CHECK (invoice_number > 0),
    state                 text NOT NULL CHECK (state IN ('FINALIZED', 'PAID', 'VOID')),
    billing_period_start  timestamptz NOT NULL,
    billing_period_end    timestamptz NOT NULL CHECK (billing_period_end > billing_period_start),
    currency              text NOT NULL,
    -- The whole invoice in canonical JSON, as it was sent.
    document              text NOT NULL,
    total_nanos           bigint NOT NULL,
    finalize_time         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, invoice_id),
    UNIQUE (tenant_id, invoice_number)
);

-- ---------------------------------------------------------------------------------------- rights

DO $$
DECLARE
    relation regclass;
BEGIN
    FOREACH relation IN ARRAY ARRAY['tenants', 'api_keys', 'requests', 'jobs', 'images', 'attempts', 'pictures',
        'job_events', 'image_progress', 'worker_sessions', 'workers', 'energy_segments', 'energy_shares', 'accounts',
        'transfers', 'usage_records', 'usage_lines', 'invoices']::regclass[]
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', relation);
    END LOOP;
END
$$;

-- The owner's triggers and foreign-key checks do not read through policies; nobody works as the owner.

-- gateway: one tenant at a time ------------------------------------------------------------------
CREATE POLICY gateway_of_tenant ON tenants TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON api_keys TO atelier_gateway
    USING (tenant_id = current_tenant_id()) WITH CHECK (tenant_id = current_tenant_id() AND role <> 'OPERATOR');
CREATE POLICY gateway_key_lookup ON api_keys FOR SELECT TO atelier_gateway USING (key_id = current_key_id());
CREATE POLICY gateway_of_tenant ON requests TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON jobs TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON images TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON attempts TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON pictures TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON job_events TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON image_progress TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON worker_sessions FOR SELECT TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON energy_shares FOR SELECT TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON energy_segments FOR SELECT TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON accounts TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON transfers TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON usage_records TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON usage_lines TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON invoices TO atelier_gateway USING (tenant_id = current_tenant_id());

GRANT SELECT, UPDATE ON tenants TO atelier_gateway;
GRANT SELECT, INSERT, UPDATE ON api_keys, requests, jobs, images, attempts TO atelier_gateway;
GRANT SELECT ON pictures, image_progress, worker_sessions, energy_shares, energy_segments, price_versions, invoices
    TO atelier_gateway;
GRANT SELECT, INSERT ON job_events, transfers, usage_records, usage_lines TO atelier_gateway;
GRANT SELECT, INSERT ON accounts TO atelier_gateway;
GRANT UPDATE (debits_pending, debits_posted, credits_pending, credits_posted) ON accounts TO atelier_gateway;

-- operator: the gateway's second pool, used only after an operator's key passed ------------------
DO $$
DECLARE
    relation regclass;
BEGIN
    FOREACH relation IN ARRAY ARRAY['tenants', 'api_keys', 'requests', 'jobs', 'images', 'attempts', 'pictures',
        'job_events', 'image_progress', 'worker_sessions', 'workers', 'energy_segments', 'energy_shares', 'accounts',
        'transfers', 'usage_records', 'usage_lines', 'invoices']::regclass[]
    LOOP
        EXECUTE format('CREATE POLICY operator_all ON %s TO atelier_operator USING (true)', relation);
    END LOOP;
END
$$;
GRANT SELECT ON jobs, attempts, pictures, job_events, image_progress, worker_sessions, workers, gpus, energy_readings,
    energy_segments, energy_shares, usage_records, usage_lines TO atelier_operator;
GRANT SELECT ON images TO atelier_operator;
GRANT SELECT, INSERT, UPDATE ON tenants, api_keys, requests, accounts, invoices TO atelier_operator;
GRANT SELECT, INSERT ON transfers, price_versions TO atelier_operator;

-- recorder: the tenant of the caller's socket ----------------------------------------------------
CREATE POLICY recorder_of_tenant ON tenants FOR SELECT TO atelier_recorder USING (tenant_id = current_tenant_id());
CREATE POLICY recorder_of_tenant ON jobs TO atelier_recorder USING (tenant_id = current_tenant_id());
CREATE POLICY recorder_of_tenant ON images TO atelier_recorder USING (tenant_id = current_tenant_id());
CREATE POLICY recorder_of_tenant ON attempts TO atelier_recorder USING (tenant_id = current_tenant_id());
CREATE POLICY recorder_of_tenant ON pictures TO atelier_recorder USING (tenant_id = current_tenant_id());
-- The spool's uploader works through all tenants' files; it sees paths and hashes, no prompts.
CREATE POLICY recorder_spool ON pictures FOR SELECT TO atelier_recorder USING (store_time IS NULL);
CREATE POLICY recorder_of_tenant ON job_events TO atelier_recorder USING (tenant_id = current_tenant_id());
CREATE POLICY recorder_of_tenant ON image_progress TO atelier_recorder USING (tenant_id = current_tenant_id());
CREATE POLICY recorder_of_tenant ON worker_sessions TO atelier_recorder USING (tenant_id = current_tenant_id());
CREATE POLICY recorder_of_tenant ON energy_segments FOR SELECT TO atelier_recorder USING (tenant_id = current_tenant_id());
CREATE POLICY recorder_of_tenant ON energy_shares FOR SELECT TO atelier_recorder USING (tenant_id = current_tenant_id());
CREATE POLICY recorder_of_tenant ON accounts TO atelier_recorder USING (tenant_id = current_tenant_id());
CREATE POLICY recorder_of_tenant ON transfers TO atelier_recorder USING (tenant_id = current_tenant_id());
CREATE POLICY recorder_of_tenant ON usage_records TO atelier_recorder USING (tenant_id = current_tenant_id());
CREATE POLICY recorder_of_tenant ON usage_lines TO atelier_recorder USING (tenant_id = current_tenant_id());

GRANT SELECT ON tenants, energy_segments, energy_shares, price_versions TO atelier_recorder;
GRANT SELECT, UPDATE ON jobs, images TO atelier_recorder;
GRANT SELECT, INSERT, UPDATE ON attempts, worker_sessions, pictures TO atelier_recorder;
GRANT SELECT, INSERT, UPDATE, DELETE ON image_progress TO atelier_recorder;
GRANT SELECT, INSERT ON job_events, transfers, usage_records, usage_lines TO atelier_recorder;
GRANT SELECT ON accounts TO atelier_recorder;
GRANT UPDATE (debits_pending, debits_posted, credits_pending, credits_posted) ON accounts TO atelier_recorder;

-- meter intake: the recorder's second pool, for what the host's meter sends ----------------------
CREATE POLICY meter_intake_all ON energy_segments TO atelier_meter_intake USING (true);
CREATE POLICY meter_intake_all ON energy_shares TO atelier_meter_intake USING (true);
GRANT SELECT, INSERT ON gpus, energy_segments, energy_shares TO atelier_meter_intake;
GRANT UPDATE (display_name) ON gpus TO atelier_meter_intake;
GRANT SELECT, INSERT, UPDATE ON energy_readings TO atelier_meter_intake;

-- fleet: who exists and how much waits; no prompts -----------------------------------------------
CREATE POLICY fleet_all ON tenants FOR SELECT TO atelier_fleet USING (true);
CREATE POLICY fleet_all ON images FOR SELECT TO atelier_fleet USING (true);
CREATE POLICY fleet_all ON worker_sessions TO atelier_fleet USING (true);
CREATE POLICY fleet_all ON workers TO atelier_fleet USING (true);
GRANT SELECT (tenant_id, state, allowed_models, create_time) ON tenants TO atelier_fleet;
GRANT SELECT (tenant_id, job_id, image_id, state, tier, model, width, height, num_inference_steps, session_id, create_time)
    ON images TO atelier_fleet;
GRANT SELECT ON worker_sessions, gpus TO atelier_fleet;
GRANT UPDATE (drain) ON worker_sessions TO atelier_fleet;
GRANT SELECT, INSERT, UPDATE, DELETE ON workers TO atelier_fleet;

-- housekeeper: all tenants, no prompts -----------------------------------------------------------
CREATE POLICY housekeeper_all ON tenants FOR SELECT TO atelier_housekeeper USING (true);
CREATE POLICY housekeeper_all ON jobs TO atelier_housekeeper USING (true);
CREATE POLICY housekeeper_all ON images TO atelier_housekeeper USING (true);
CREATE POLICY housekeeper_all ON attempts TO atelier_housekeeper USING (true);
CREATE POLICY housekeeper_all ON pictures TO atelier_housekeeper USING (true);
CREATE POLICY housekeeper_all ON job_events TO atelier_housekeeper USING (true);
CREATE POLICY housekeeper_all ON image_progress TO atelier_housekeeper USING (true);
CREATE POLICY housekeeper_all ON worker_sessions TO atelier_housekeeper USING (true);
CREATE POLICY housekeeper_all ON energy_segments FOR SELECT TO atelier_housekeeper USING (true);
CREATE POLICY housekeeper_all ON energy_shares FOR SELECT TO atelier_housekeeper USING (true);
CREATE POLICY housekeeper_all ON accounts TO atelier_housekeeper USING (true);
CREATE POLICY housekeeper_all ON transfers TO atelier_housekeeper USING (true);
CREATE POLICY housekeeper_all ON usage_records TO atelier_housekeeper USING (true);
CREATE POLICY housekeeper_all ON usage_lines TO atelier_housekeeper USING (true);
CREATE POLICY housekeeper_all ON invoices TO atelier_housekeeper USING (true);
GRANT SELECT (tenant_id, state, currency, time_zone) ON tenants TO atelier_housekeeper;
GRANT SELECT, UPDATE ON jobs TO atelier_housekeeper;
GRANT SELECT (tenant_id, job_id, image_id, image_number, state, tier, model, width, height, num_inference_steps, seed,
    attempt, claim_token, session_id, lost_attempt_count, hold_transfer_id, hold_nanos, cancel_wish_time,
    deadline_time, failure_reason, failure_message, create_time, start_time, end_time)
    ON images TO atelier_housekeeper;
GRANT UPDATE (state, attempt, claim_token, session_id, lost_attempt_count, cancel_wish_time, failure_reason, failure_message,
    start_time, end_time) ON images TO atelier_housekeeper;
GRANT SELECT, UPDATE ON attempts, worker_sessions TO atelier_housekeeper;
GRANT SELECT ON pictures, energy_segments, energy_shares, energy_readings, gpus, invoices, price_versions
    TO atelier_housekeeper;
GRANT SELECT, DELETE ON image_progress TO atelier_housekeeper;
GRANT SELECT, INSERT ON job_events, transfers, usage_records, usage_lines TO atelier_housekeeper;
GRANT SELECT ON accounts TO atelier_housekeeper;
GRANT UPDATE (debits_pending, debits_posted, credits_pending, credits_posted) ON accounts TO atelier_housekeeper;

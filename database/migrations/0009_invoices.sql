-- Invoices that are finalized, paid, void or corrected. A finalized invoice never changes: what happens to it later
-- stands in rows of its own, and every one of these tables only grows.

-- ---------------------------------------------------------------------------------------- what waits for an invoice

-- The usage that no invoice has taken yet, however late it came: identity and time say nothing about the order of
-- commits, a list does.
CREATE TABLE uninvoiced_usage (
    tenant_id  text NOT NULL,
    image_id   text NOT NULL,
    PRIMARY KEY (tenant_id, image_id),
    FOREIGN KEY (tenant_id, image_id) REFERENCES usage_records (tenant_id, image_id)
);

CREATE FUNCTION list_uninvoiced_usage() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO uninvoiced_usage (tenant_id, image_id) SELECT tenant_id, image_id FROM added;
    RETURN NULL;
END
$$;
CREATE TRIGGER list_uninvoiced AFTER INSERT ON usage_records REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION list_uninvoiced_usage();

-- What was used before this list began. The owner sees through a policy only while it is not forced.
ALTER TABLE usage_records NO FORCE ROW LEVEL SECURITY;
INSERT INTO uninvoiced_usage (tenant_id, image_id) SELECT tenant_id, image_id FROM usage_records;
ALTER TABLE usage_records FORCE ROW LEVEL SECURITY;

-- ---------------------------------------------------------------------------------------- invoices

-- An image is on one invoice, and on that once.
CREATE TABLE invoiced_usage (
    tenant_id   text NOT NULL,
    image_id    text NOT NULL,
    invoice_id  text NOT NULL,
    PRIMARY KEY (tenant_id, image_id),
    FOREIGN KEY (tenant_id, image_id) REFERENCES usage_records (tenant_id, image_id),
    -- Usage is taken first and the invoice made of what was taken; both are there at the commit.
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices (tenant_id, invoice_id) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX invoiced_usage_of_invoice ON invoiced_usage (tenant_id, invoice_id);

ALTER TABLE invoices
    -- The state follows from invoice_settlements.
    DROP COLUMN state,
    ADD COLUMN document_sha256 bytea NOT NULL CHECK (document_sha256 = sha256(convert_to(document, 'UTF8'))),
    -- Of the total: what the wallet went below zero for; the rest (tax, rounding) is owed beside it.
    ADD COLUMN wallet_due_nanos bigint NOT NULL,
    -- Prepaid credit that this invoice used up.
    ADD COLUMN credit_applied_nanos bigint NOT NULL CHECK (credit_applied_nanos >= 0),
    ADD CONSTRAINT invoices_periods_do_not_overlap
        EXCLUDE USING gist (tenant_id WITH =, tstzrange(billing_period_start, billing_period_end) WITH &&);

CREATE FUNCTION require_next_invoice_number() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.invoice_number <> (SELECT coalesce(max(invoice_number), 0) + 1 FROM invoices WHERE tenant_id = NEW.tenant_id)
    THEN
        RAISE EXCEPTION 'invoice number % of % leaves a gap', NEW.invoice_number, NEW.tenant_id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER number_without_gap BEFORE INSERT ON invoices
    FOR EACH ROW EXECUTE FUNCTION require_next_invoice_number();

-- What became of an invoice: paid or void, once and for good.
CREATE TABLE invoice_settlements (
    tenant_id     text NOT NULL,
    invoice_id    text NOT NULL,
    state         text NOT NULL CHECK (state IN ('PAID', 'VOID')),
    amount_nanos  bigint NOT NULL,
    settle_time   timestamptz NOT NULL,
    -- PAID: the payment's reference elsewhere. VOID: why; it is printed.
    note          text NOT NULL,
    create_time   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, invoice_id),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices (tenant_id, invoice_id)
);

CREATE TABLE credit_notes (
    tenant_id           text NOT NULL,
    credit_note_number  bigint NOT NULL CHECK (credit_note_number > 0),
    invoice_id          text NOT NULL,
    currency            text NOT NULL,
    amount_nanos        bigint NOT NULL CHECK (amount_nanos > 0),
    -- Of the amount: tax, and what went to the wallet because the invoice was not paid yet.
    tax_nanos           bigint NOT NULL CHECK (tax_nanos BETWEEN 0 AND amount_nanos),
    wallet_nanos        bigint NOT NULL CHECK (wallet_nanos BETWEEN 0 AND amount_nanos),
    reason              text NOT NULL,
    create_time         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, credit_note_number),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices (tenant_id, invoice_id)
);
CREATE INDEX credit_notes_of_invoice ON credit_notes (tenant_id, invoice_id);

CREATE FUNCTION require_next_credit_note_number() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.credit_note_number
        <> (SELECT coalesce(max(credit_note_number), 0) + 1 FROM credit_notes WHERE tenant_id = NEW.tenant_id)
    THEN
        RAISE EXCEPTION 'credit note number % of % leaves a gap', NEW.credit_note_number, NEW.tenant_id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER number_without_gap BEFORE INSERT ON credit_notes
    FOR EACH ROW EXECUTE FUNCTION require_next_credit_note_number();

-- The transfers of an invoice besides the captures of its images: finalization, payment, void, credit notes.
CREATE TABLE invoice_transfers (
    tenant_id    text NOT NULL,
    transfer_id  bigint NOT NULL,
    invoice_id   text NOT NULL,
    PRIMARY KEY (tenant_id, transfer_id),
    FOREIGN KEY (tenant_id, transfer_id) REFERENCES transfers (tenant_id, transfer_id),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices (tenant_id, invoice_id) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX invoice_transfers_of_invoice ON invoice_transfers (tenant_id, invoice_id);

DO $$
DECLARE
    relation regclass;
BEGIN
    FOREACH relation IN ARRAY ARRAY['invoices', 'invoiced_usage', 'invoice_settlements', 'credit_notes',
        'invoice_transfers']::regclass[]
    LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', relation);
    END LOOP;
END
$$;

-- ---------------------------------------------------------------------------------------- ledger

ALTER TABLE transfers DROP CONSTRAINT transfers_reason_check,
    ADD CONSTRAINT transfers_reason_check CHECK (reason IN ('CREDIT_GRANT', 'HOLD', 'CAPTURE', 'RELEASE', 'WRITE_OFF',
        'BREAKAGE', 'VOLUME_TIER', 'DISCOUNT', 'MINIMUM', 'ADJUSTMENT', 'TAX', 'ROUNDING', 'CREDIT_NOTE', 'PAYMENT',
        'INVOICE_VOID'));
CREATE INDEX transfers_captured ON transfers (tenant_id, create_time) WHERE kind = 'POST';

-- ---------------------------------------------------------------------------------------- rights

DO $$
DECLARE
    relation regclass;
BEGIN
    FOREACH relation IN ARRAY ARRAY['uninvoiced_usage', 'invoiced_usage', 'invoice_settlements', 'credit_notes',
        'invoice_transfers']::regclass[]
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', relation);
        EXECUTE format('CREATE POLICY gateway_of_tenant ON %s TO atelier_gateway USING (tenant_id = current_tenant_id())',
            relation);
        EXECUTE format('CREATE POLICY operator_all ON %s TO atelier_operator USING (true)', relation);
        EXECUTE format('CREATE POLICY housekeeper_all ON %s TO atelier_housekeeper USING (true)', relation);
    END LOOP;
END
$$;
CREATE POLICY recorder_of_tenant ON uninvoiced_usage TO atelier_recorder USING (tenant_id = current_tenant_id());

GRANT SELECT ON uninvoiced_usage, invoiced_usage, invoice_settlements, credit_notes, invoice_transfers
    TO atelier_gateway, atelier_operator, atelier_housekeeper;
GRANT INSERT ON uninvoiced_usage TO atelier_gateway, atelier_recorder, atelier_housekeeper;
GRANT DELETE ON uninvoiced_usage TO atelier_operator;
GRANT INSERT ON invoiced_usage, invoice_settlements, credit_notes, invoice_transfers TO atelier_operator;
REVOKE UPDATE ON invoices FROM atelier_operator;
-- A draft names its buyer.
GRANT SELECT ON tenants TO atelier_housekeeper;

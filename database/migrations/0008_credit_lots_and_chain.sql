-- Prepaid credit as lots that are used in order and may expire, and the chain that seals every transfer.

-- ---------------------------------------------------------------------------------------- lots

-- Each credit of a wallet is a lot, named by its transfer. Captures are made against the wallet; which lots they
-- used up stands in lot_consumptions.
CREATE TABLE credit_lots (
    tenant_id       text NOT NULL,
    lot_id          bigint NOT NULL PRIMARY KEY,
    currency        text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    -- Lower ones are used first; among equals those that expire first.
    priority        integer NOT NULL CHECK (priority BETWEEN 0 AND 1000),
    expire_time     timestamptz,
    amount_nanos    bigint NOT NULL CHECK (amount_nanos >= 0),
    consumed_nanos  bigint NOT NULL DEFAULT 0 CHECK (consumed_nanos >= 0),
    expired_nanos   bigint NOT NULL DEFAULT 0 CHECK (expired_nanos >= 0),
    CONSTRAINT lot_guard CHECK (consumed_nanos + expired_nanos <= amount_nanos),
    -- Nothing expires of a lot that never does.
    CHECK (expire_time IS NOT NULL OR expired_nanos = 0),
    UNIQUE (tenant_id, lot_id),
    FOREIGN KEY (tenant_id, lot_id) REFERENCES transfers (tenant_id, transfer_id)
);
CREATE INDEX credit_lots_in_order ON credit_lots (tenant_id, currency, priority, expire_time, lot_id)
    WHERE consumed_nanos + expired_nanos < amount_nanos;
CREATE INDEX credit_lots_to_expire ON credit_lots (expire_time)
    WHERE expire_time IS NOT NULL AND consumed_nanos + expired_nanos < amount_nanos;

CREATE TABLE lot_consumptions (
    tenant_id     text NOT NULL,
    -- What used it up; the lot's own transfer where it paid what the wallet owed before.
    transfer_id   bigint NOT NULL,
    lot_id        bigint NOT NULL,
    amount_nanos  bigint NOT NULL CHECK (amount_nanos > 0),
    PRIMARY KEY (transfer_id, lot_id),
    FOREIGN KEY (tenant_id, transfer_id) REFERENCES transfers (tenant_id, transfer_id),
    FOREIGN KEY (tenant_id, lot_id) REFERENCES credit_lots (tenant_id, lot_id)
);
CREATE INDEX lot_consumptions_of_lot ON lot_consumptions (lot_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON lot_consumptions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What wallets have now, in one lot each: that of their last grant. It never expires.
ALTER TABLE accounts NO FORCE ROW LEVEL SECURITY;
ALTER TABLE transfers NO FORCE ROW LEVEL SECURITY;
INSERT INTO credit_lots (tenant_id, lot_id, currency, priority, amount_nanos)
SELECT wallet.tenant_id, max(credit.transfer_id), wallet.currency, 0, wallet.credits_posted - wallet.debits_posted
FROM accounts AS wallet
JOIN transfers AS credit
    ON credit.tenant_id = wallet.tenant_id AND credit.currency = wallet.currency AND credit.credit_account = 'WALLET'
WHERE wallet.kind = 'WALLET' AND wallet.credits_posted > wallet.debits_posted
GROUP BY wallet.tenant_id, wallet.currency, wallet.credits_posted, wallet.debits_posted;
ALTER TABLE accounts FORCE ROW LEVEL SECURITY;

-- ---------------------------------------------------------------------------------------- chain

-- Transfers that are in no block yet. A list, because numbers say nothing about the order of commits.
CREATE TABLE unsealed_transfers (
    tenant_id    text NOT NULL,
    transfer_id  bigint NOT NULL PRIMARY KEY,
    FOREIGN KEY (tenant_id, transfer_id) REFERENCES transfers (tenant_id, transfer_id)
);
CREATE INDEX unsealed_transfers_of_tenant ON unsealed_transfers (tenant_id, transfer_id);

CREATE FUNCTION list_unsealed_transfers() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO unsealed_transfers (tenant_id, transfer_id) SELECT tenant_id, transfer_id FROM added;
    RETURN NULL;
END
$$;
CREATE TRIGGER list_unsealed AFTER INSERT ON transfers REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION list_unsealed_transfers();
INSERT INTO unsealed_transfers (tenant_id, transfer_id) SELECT tenant_id, transfer_id FROM transfers;
ALTER TABLE transfers FORCE ROW LEVEL SECURITY;

-- Every member of a transfer in one unambiguous text, hashed. An array in JSON tells where each member ends.
CREATE FUNCTION transfer_sha256(sealed transfers) RETURNS bytea
    LANGUAGE sql STABLE
    RETURN sha256(convert_to(jsonb_build_array(sealed.transfer_id, sealed.tenant_id, sealed.kind, sealed.debit_account,
        sealed.credit_account, sealed.amount_nanos, sealed.currency, sealed.pending_id, sealed.image_id, sealed.job_id,
        sealed.reason, sealed.description, sealed.request_id,
        (extract(epoch FROM sealed.create_time) * 1000000)::bigint)::text, 'UTF8'));

CREATE TABLE ledger_blocks (
    tenant_id        text NOT NULL REFERENCES tenants,
    block_number     bigint NOT NULL CHECK (block_number > 0),
    previous_sha256  bytea NOT NULL CHECK (length(previous_sha256) = 32),
    -- Of the previous hash, the number and the transfers' hashes in order.
    block_sha256     bytea NOT NULL CHECK (length(block_sha256) = 32),
    transfer_count   integer NOT NULL CHECK (transfer_count > 0),
    seal_time        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, block_number),
    -- A block follows one block, and no other follows the same.
    UNIQUE (tenant_id, previous_sha256)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_blocks
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE sealed_transfers (
    tenant_id        text NOT NULL,
    transfer_id      bigint NOT NULL PRIMARY KEY,
    block_number     bigint NOT NULL,
    position         integer NOT NULL CHECK (position > 0),
    transfer_sha256  bytea NOT NULL CHECK (length(transfer_sha256) = 32),
    UNIQUE (tenant_id, block_number, position),
    FOREIGN KEY (tenant_id, block_number) REFERENCES ledger_blocks (tenant_id, block_number),
    FOREIGN KEY (tenant_id, transfer_id) REFERENCES transfers (tenant_id, transfer_id)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sealed_transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What changed in the last minutes: what the housekeeper looks at between the nights.
CREATE INDEX job_events_by_time ON job_events USING brin (create_time);
CREATE INDEX transfers_by_time ON transfers USING brin (create_time);

-- ---------------------------------------------------------------------------------------- rights

DO $$
DECLARE
    relation regclass;
BEGIN
    FOREACH relation IN ARRAY ARRAY['credit_lots', 'lot_consumptions', 'unsealed_transfers', 'ledger_blocks',
        'sealed_transfers']::regclass[]
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', relation);
        EXECUTE format('CREATE POLICY gateway_of_tenant ON %s TO atelier_gateway
            USING (tenant_id = current_tenant_id())', relation);
        EXECUTE format('CREATE POLICY operator_all ON %s TO atelier_operator USING (true)', relation);
        EXECUTE format('CREATE POLICY housekeeper_all ON %s TO atelier_housekeeper USING (true)', relation);
    END LOOP;
    FOREACH relation IN ARRAY ARRAY['credit_lots', 'lot_consumptions', 'unsealed_transfers']::regclass[]
    LOOP
        EXECUTE format('CREATE POLICY recorder_of_tenant ON %s TO atelier_recorder
            USING (tenant_id = current_tenant_id())', relation);
    END LOOP;
END
$$;
-- Whoever books a transfer lists it, and keeps the lots of the wallet it moves.
GRANT SELECT, INSERT ON credit_lots, lot_consumptions, unsealed_transfers
    TO atelier_gateway, atelier_operator, atelier_recorder, atelier_housekeeper;
GRANT UPDATE (consumed_nanos) ON credit_lots TO atelier_gateway, atelier_operator, atelier_recorder;
GRANT UPDATE (consumed_nanos, expired_nanos) ON credit_lots TO atelier_housekeeper;
GRANT SELECT ON ledger_blocks, sealed_transfers TO atelier_gateway, atelier_operator;
GRANT SELECT, INSERT ON ledger_blocks, sealed_transfers TO atelier_housekeeper;
GRANT DELETE ON unsealed_transfers TO atelier_housekeeper;

-- Which price book a tenant bought at, and since when: a period's discounts and minimum are those of the book of then.
CREATE TABLE tenant_price_books (
    tenant_id       text NOT NULL REFERENCES tenants,
    -- The clock at the change, not its transaction's time: whoever changes has locked the tenant, so they follow one
    -- another. The first book holds for all time before.
    effective_time  timestamptz NOT NULL,
    price_book      text NOT NULL,
    PRIMARY KEY (tenant_id, effective_time)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tenant_price_books
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Of tenants of before only today's book is known. The owner sees rows only while its tables do not force it.
ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY;
INSERT INTO tenant_price_books (tenant_id, effective_time, price_book)
SELECT tenant_id, '-infinity', price_book FROM tenants;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;

ALTER TABLE tenant_price_books ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_price_books FORCE ROW LEVEL SECURITY;
CREATE POLICY gateway_of_tenant ON tenant_price_books TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY operator_all ON tenant_price_books TO atelier_operator USING (true);
CREATE POLICY housekeeper_all ON tenant_price_books TO atelier_housekeeper USING (true);
GRANT SELECT ON tenant_price_books TO atelier_gateway, atelier_operator, atelier_housekeeper;
GRANT INSERT ON tenant_price_books TO atelier_operator;

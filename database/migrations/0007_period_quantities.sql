-- What a tenant has consumed in a billing period, by component and model: what tiers of quantity are reckoned by.
-- Facts, whatever their price: one price may count a model apart that another counts with all the rest.

CREATE TABLE period_quantities (
    tenant_id     text NOT NULL REFERENCES tenants,
    -- The first instant of the month in the tenant's time zone.
    period_start  timestamptz NOT NULL,
    component     text NOT NULL CHECK (component IN ('PER_IMAGE', 'PER_MEGAPIXEL_STEP', 'PER_GPU_SECOND', 'PER_KWH')),
    model         text NOT NULL,
    -- Whole images, pixel-steps, microseconds, millijoules.
    quantity      bigint NOT NULL CHECK (quantity >= 0),
    PRIMARY KEY (tenant_id, period_start, component, model)
);
ALTER TABLE period_quantities ENABLE ROW LEVEL SECURITY;

-- What was charged before there were counters. The owner sees rows only while its tables do not force it.
ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_records NO FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_lines NO FORCE ROW LEVEL SECURITY;
INSERT INTO period_quantities (tenant_id, period_start, component, model, quantity)
SELECT used.tenant_id, budget_period_start('MONTH', tenant.time_zone, used.charge_time), line.component, used.model,
    sum(round(line.consumed_quantity * CASE line.component
        WHEN 'PER_IMAGE' THEN 1 WHEN 'PER_KWH' THEN 3600000000 ELSE 1000000 END))
FROM usage_lines AS line
JOIN usage_records AS used USING (tenant_id, image_id)
JOIN tenants AS tenant USING (tenant_id)
WHERE line.component <> 'CAP'
GROUP BY 1, 2, 3, 4;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_records FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_lines FORCE ROW LEVEL SECURITY;
ALTER TABLE period_quantities FORCE ROW LEVEL SECURITY;

CREATE POLICY gateway_of_tenant ON period_quantities TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY recorder_of_tenant ON period_quantities TO atelier_recorder USING (tenant_id = current_tenant_id());
CREATE POLICY operator_all ON period_quantities FOR SELECT TO atelier_operator USING (true);
CREATE POLICY housekeeper_all ON period_quantities FOR SELECT TO atelier_housekeeper USING (true);
-- The gateway captures too: a picture that a person releases from quarantine.
GRANT SELECT, INSERT ON period_quantities TO atelier_gateway, atelier_recorder;
GRANT UPDATE (quantity) ON period_quantities TO atelier_gateway, atelier_recorder;
GRANT SELECT ON period_quantities TO atelier_operator, atelier_housekeeper;

-- What a tenant's workers take while they hold a GPU and have nothing to do: the operator's cost, or the tenant's where
-- its price says so. By hour, because a month of segments is too much to sum for every look at a draft.
CREATE TABLE parked_hours (
    tenant_id        text NOT NULL,
    gpu_id           text NOT NULL REFERENCES gpus,
    hour_start_time  timestamptz NOT NULL CHECK (hour_start_time = date_trunc('hour', hour_start_time, 'UTC')),
    source           text NOT NULL CHECK (source IN ('NVML_COUNTER', 'NVML_POWER', 'RAPL', 'ESTIMATED')),
    millijoules      bigint NOT NULL CHECK (millijoules >= 0),
    PRIMARY KEY (tenant_id, hour_start_time, gpu_id, source)
);

-- The owner sees rows only while its tables do not force it.
ALTER TABLE energy_segments NO FORCE ROW LEVEL SECURITY;
INSERT INTO parked_hours (tenant_id, gpu_id, hour_start_time, source, millijoules)
SELECT tenant_id, gpu_id, hour_start_time, source, sum(millijoules)
FROM energy_segments
WHERE kind = 'PARKED' AND tenant_id IS NOT NULL
GROUP BY tenant_id, gpu_id, hour_start_time, source;
ALTER TABLE energy_segments FORCE ROW LEVEL SECURITY;

ALTER TABLE parked_hours ENABLE ROW LEVEL SECURITY;
ALTER TABLE parked_hours FORCE ROW LEVEL SECURITY;
CREATE POLICY gateway_of_tenant ON parked_hours TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY operator_all ON parked_hours TO atelier_operator USING (true);
CREATE POLICY housekeeper_all ON parked_hours TO atelier_housekeeper USING (true);
GRANT SELECT ON parked_hours TO atelier_gateway, atelier_operator;
GRANT SELECT, INSERT ON parked_hours TO atelier_housekeeper;
GRANT UPDATE (millijoules) ON parked_hours TO atelier_housekeeper;

ALTER TABLE transfers DROP CONSTRAINT transfers_reason_check,
    ADD CONSTRAINT transfers_reason_check CHECK (reason IN ('CREDIT_GRANT', 'HOLD', 'CAPTURE', 'RELEASE', 'WRITE_OFF',
        'BREAKAGE', 'VOLUME_TIER', 'DISCOUNT', 'PARKED_ENERGY', 'MINIMUM', 'ADJUSTMENT', 'TAX', 'ROUNDING', 'CREDIT_NOTE',
        'PAYMENT', 'INVOICE_VOID'));

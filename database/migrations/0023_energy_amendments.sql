-- Energy that arrives after its image was charged: what every report, receipt and invoice shows from then on, while the
-- record, by which the price was made, stays as it is.
CREATE TABLE energy_amendments (
    tenant_id                 text NOT NULL,
    image_id                  text NOT NULL,
    energy_millijoules        bigint NOT NULL CHECK (energy_millijoules >= 0),
    energy_error_millijoules  bigint NOT NULL CHECK (energy_error_millijoules >= 0),
    energy_source             text NOT NULL CHECK (energy_source IN ('NVML_COUNTER', 'NVML_POWER', 'RAPL', 'ESTIMATED',
                                  'PARTIAL', 'NONE')),
    amend_time                timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, image_id),
    FOREIGN KEY (tenant_id, image_id) REFERENCES usage_records (tenant_id, image_id)
);
ALTER TABLE energy_amendments ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY gateway_of_tenant ON energy_amendments TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY operator_all ON energy_amendments TO atelier_operator USING (true);
CREATE POLICY housekeeper_all ON energy_amendments TO atelier_housekeeper USING (true);
GRANT SELECT ON energy_amendments TO atelier_gateway, atelier_operator, atelier_housekeeper;
GRANT INSERT, UPDATE ON energy_amendments TO atelier_housekeeper;

-- Those that the housekeeper looks at again.
CREATE INDEX usage_records_with_partial_energy ON usage_records (charge_time, image_id) WHERE energy_source = 'PARTIAL';

-- Usage as it is shown. The caller's policies hold for both tables.
CREATE VIEW shown_usage WITH (security_invoker = true) AS
SELECT used.tenant_id, used.image_id, used.job_id, used.attempt, used.outcome, used.failure_reason, used.key_id,
    used.project, used.model, used.precision, used.tier, used.width, used.height, used.num_inference_steps, used.seed,
    used.gpu_id, used.session_id, used.last_mark_number, used.batch_shares, used.gpu_seconds, used.queue_seconds,
    coalesce(amended.energy_millijoules, used.energy_millijoules) AS energy_millijoules,
    coalesce(amended.energy_error_millijoules, used.energy_error_millijoules) AS energy_error_millijoules,
    coalesce(amended.energy_source, used.energy_source) AS energy_source,
    used.price_id, used.price_nanos, used.currency, used.charge_time, used.labels
FROM usage_records AS used
LEFT JOIN energy_amendments AS amended
    ON amended.tenant_id = used.tenant_id AND amended.image_id = used.image_id;
GRANT SELECT ON shown_usage TO atelier_gateway, atelier_operator, atelier_housekeeper;

-- Labels of images on their usage, and sums of usage by day, so that a year answers at once.

ALTER TABLE usage_records ADD COLUMN labels jsonb NOT NULL DEFAULT '{}';

-- What was used before has its images' labels. The owner sees rows only while its tables do not force their policies.
ALTER TABLE usage_records NO FORCE ROW LEVEL SECURITY, DISABLE TRIGGER append_only;
ALTER TABLE images NO FORCE ROW LEVEL SECURITY;
UPDATE usage_records AS used SET labels = image.labels
FROM images AS image
WHERE image.image_id = used.image_id AND image.labels <> '{}';
ALTER TABLE usage_records FORCE ROW LEVEL SECURITY, ENABLE TRIGGER append_only;
ALTER TABLE images FORCE ROW LEVEL SECURITY;

-- Usage that is in no roll-up yet. A list again: who rolls up by time misses what commits late.
CREATE TABLE fresh_usage (
    tenant_id  text NOT NULL,
    image_id   text NOT NULL,
    PRIMARY KEY (tenant_id, image_id),
    FOREIGN KEY (tenant_id, image_id) REFERENCES usage_records (tenant_id, image_id)
);

CREATE FUNCTION list_fresh_usage() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO fresh_usage (tenant_id, image_id) SELECT tenant_id, image_id FROM added;
    RETURN NULL;
END
$$;
CREATE TRIGGER list_fresh AFTER INSERT ON usage_records REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION list_fresh_usage();

-- Sums of a day of the tenant's clock. An image is in one row with an empty label_key, and in one more for each of its
-- labels.
CREATE TABLE usage_roll_ups (
    tenant_id           text NOT NULL,
    label_key           text NOT NULL,
    label_value         text NOT NULL,
    day                 date NOT NULL,
    outcome             text NOT NULL,
    key_id              text NOT NULL,
    project             text NOT NULL,
    model               text NOT NULL,
    width               integer NOT NULL,
    height              integer NOT NULL,
    energy_source       text NOT NULL,
    currency            text NOT NULL,
    image_count         bigint NOT NULL,
    gpu_seconds         numeric NOT NULL,
    energy_millijoules  bigint NOT NULL,
    -- Errors of single images are independent: their squares add up.
    energy_variance     numeric NOT NULL,
    billed_cost_nanos   bigint NOT NULL,
    PRIMARY KEY (tenant_id, label_key, day, label_value, outcome, key_id, project, model, width, height, energy_source,
        currency)
);

-- Whose clock a tenant's days are; without a row, or with another clock than the tenant's, they are made anew.
CREATE TABLE usage_roll_up_clocks (
    tenant_id  text NOT NULL PRIMARY KEY REFERENCES tenants,
    time_zone  text NOT NULL
);

DO $$
DECLARE
    relation regclass;
BEGIN
    FOREACH relation IN ARRAY ARRAY['fresh_usage', 'usage_roll_ups', 'usage_roll_up_clocks']::regclass[]
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
CREATE POLICY recorder_of_tenant ON fresh_usage TO atelier_recorder USING (tenant_id = current_tenant_id());
GRANT INSERT ON fresh_usage TO atelier_gateway, atelier_recorder, atelier_housekeeper;
GRANT SELECT ON fresh_usage, usage_roll_ups, usage_roll_up_clocks
    TO atelier_gateway, atelier_operator, atelier_housekeeper;
GRANT DELETE ON fresh_usage TO atelier_housekeeper;
-- To take rows of the list without waiting for others: FOR UPDATE.
GRANT UPDATE ON fresh_usage TO atelier_housekeeper;
GRANT INSERT, UPDATE, DELETE ON usage_roll_ups TO atelier_housekeeper;
GRANT INSERT, UPDATE ON usage_roll_up_clocks TO atelier_housekeeper;
-- Labels travel from the image to its usage when a lost one ends.
GRANT SELECT (labels) ON images TO atelier_housekeeper;

-- Sums of whole months beside those of days: a year that is not split by day is twelve times a few hundred rows.
-- Without a clock all are made anew.
TRUNCATE usage_roll_ups, usage_roll_up_clocks;
ALTER TABLE usage_roll_ups
    DROP CONSTRAINT usage_roll_ups_pkey,
    -- Then `day` is the first of the month.
    ADD COLUMN is_month boolean NOT NULL,
    ADD PRIMARY KEY (tenant_id, label_key, is_month, day, label_value, outcome, key_id, project, model, width, height,
        energy_source, currency);

-- Whole numbers add up faster than numerics, and a year has a few hundred thousand rows.
-- Without a clock they are made anew.
TRUNCATE usage_roll_ups, usage_roll_up_clocks;
ALTER TABLE usage_roll_ups DROP COLUMN gpu_seconds, DROP COLUMN energy_variance, DROP COLUMN energy_millijoules,
    DROP COLUMN billed_cost_nanos;
ALTER TABLE usage_roll_ups
    ADD COLUMN gpu_microseconds bigint NOT NULL,
    ADD COLUMN energy_millijoules bigint NOT NULL,
    -- Errors of single images are independent: their squares add up.
    ADD COLUMN energy_variance double precision NOT NULL,
    ADD COLUMN billed_cost_nanos bigint NOT NULL;

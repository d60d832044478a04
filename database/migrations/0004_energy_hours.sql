-- Where the joules of each GPU and UTC hour went: written anew until nothing of the hour is in progress, then sealed.
-- Derived from energy_readings, energy_segments, energy_shares and attempts, which never change; kept so that an hour's
-- answer is one row, and so that it is known when it became final.
CREATE TABLE energy_hours (
    gpu_id                   text NOT NULL REFERENCES gpus,
    hour_start_time          timestamptz NOT NULL,
    -- Of the readings, joined by "+".
    sources                  text NOT NULL,
    counter_millijoules      bigint NOT NULL,
    images_millijoules       bigint NOT NULL CHECK (images_millijoules >= 0),
    overhead_millijoules     bigint NOT NULL CHECK (overhead_millijoules >= 0),
    in_progress_millijoules  bigint NOT NULL CHECK (in_progress_millijoules >= 0),
    parked_millijoules       bigint NOT NULL CHECK (parked_millijoules >= 0),
    free_millijoules         bigint NOT NULL CHECK (free_millijoules >= 0),
    load_millijoules         bigint NOT NULL CHECK (load_millijoules >= 0),
    unknown_millijoules      bigint NOT NULL CHECK (unknown_millijoules >= 0),
    residual_millijoules     bigint NOT NULL GENERATED ALWAYS AS (
        counter_millijoules - images_millijoules - overhead_millijoules - in_progress_millijoules
        - parked_millijoules - free_millijoules - load_millijoules - unknown_millijoules) STORED,
    segment_count            bigint NOT NULL,
    -- Sum of the epochs' last segment numbers: another value tells that segments came since.
    segment_mark             bigint NOT NULL,
    update_time              timestamptz NOT NULL DEFAULT now(),
    -- NULL until nothing of the hour can change any more.
    seal_time                timestamptz,
    PRIMARY KEY (gpu_id, hour_start_time),
    CONSTRAINT sealed_hours_add_up CHECK (
        seal_time IS NULL OR (in_progress_millijoules = 0 AND counter_millijoules = images_millijoules
            + overhead_millijoules + parked_millijoules + free_millijoules + load_millijoules + unknown_millijoules))
);
CREATE INDEX energy_hours_open ON energy_hours (update_time) WHERE seal_time IS NULL;

GRANT SELECT ON energy_hours TO atelier_operator;
GRANT SELECT, INSERT, UPDATE ON energy_hours TO atelier_housekeeper;

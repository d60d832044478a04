-- The fleet: which GPUs there are and how they do, who may have how much of them, what a change of hands costs, and what the
-- operator wishes of a GPU. The fleet writes what is, the operator's pool what is wished.

-- A tenant of twice the weight gets twice the GPU time while both have work.
ALTER TABLE tenants ADD COLUMN gpu_weight double precision NOT NULL DEFAULT 1
    CHECK (gpu_weight >= 0.01 AND gpu_weight <= 100);
GRANT SELECT (gpu_weight) ON tenants TO atelier_fleet;

ALTER TABLE gpus
    ADD COLUMN kind text NOT NULL DEFAULT 'PROCESSOR' CHECK (kind IN ('NVIDIA', 'PROCESSOR')),
    -- NVIDIA's name for the card, which CUDA_VISIBLE_DEVICES takes; empty for a processor.
    ADD COLUMN device_uuid text NOT NULL DEFAULT '',
    ADD COLUMN memory_bytes bigint NOT NULL DEFAULT 0 CHECK (memory_bytes >= 0),
    -- In the inventory now; a card that was taken out keeps its row for its energy.
    ADD COLUMN in_inventory boolean NOT NULL DEFAULT false,
    -- Share of time the engine on it may be busy; every heartbeat's answer tells it.
    ADD COLUMN duty_cycle double precision NOT NULL DEFAULT 1 CHECK (duty_cycle > 0 AND duty_cycle <= 1),
    -- The operator's wishes: its worker shall finish and end (the fleet takes the wish back when it has begun) …
    ADD COLUMN drain_wish_time timestamptz,
    -- … and until then nobody gets the GPU.
    ADD COLUMN keep_empty_until timestamptz;
GRANT INSERT, UPDATE (display_name, kind, device_uuid, memory_bytes, in_inventory, duty_cycle, drain_wish_time)
    ON gpus TO atelier_fleet;
GRANT UPDATE (drain_wish_time, keep_empty_until) ON gpus TO atelier_operator;
GRANT SELECT (gpu_id, duty_cycle) ON gpus TO atelier_recorder;

-- What a GPU's sensors said last: overwritten each second, may be lost with a crash. NULL where a sensor is missing.
CREATE UNLOGGED TABLE gpu_samples (
    gpu_id               text PRIMARY KEY,
    temperature_celsius  double precision,
    power_watts          double precision,
    memory_used_bytes    bigint,
    -- Share of the last sample period in which a kernel ran.
    utilization          double precision,
    throttle_reasons     text[] NOT NULL DEFAULT '{}',
    sample_time          timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON gpu_samples TO atelier_fleet;
GRANT SELECT ON gpu_samples TO atelier_operator;

CREATE TABLE power_policies (
    -- '-' stands for every GPU without a policy of its own.
    gpu_id                   text PRIMARY KEY,
    temperature_celsius_max  double precision NOT NULL CHECK (temperature_celsius_max BETWEEN 40 AND 95),
    duty_cycle_max           double precision NOT NULL CHECK (duty_cycle_max BETWEEN 0.1 AND 1),
    update_time              timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT ON power_policies TO atelier_fleet;
GRANT SELECT, INSERT, UPDATE ON power_policies TO atelier_operator;

ALTER TABLE workers
    -- In words, from the launcher: what keeps this worker from the others.
    ADD COLUMN isolation text NOT NULL DEFAULT '',
    ADD COLUMN start_time timestamptz;

-- Every start of a worker that became ready: what it took, and whose worker had to leave for it.
CREATE TABLE handovers (
    handover_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gpu_id              text NOT NULL,
    model               text NOT NULL,
    tenant_id           text NOT NULL REFERENCES tenants,
    -- NULL: the device was free, or its worker had died.
    from_tenant_id      text,
    -- From the wish that the worker before should leave to its end.
    drain_seconds       double precision CHECK (drain_seconds >= 0),
    -- From the start of the process until its model was warm.
    cold_start_seconds  double precision NOT NULL CHECK (cold_start_seconds >= 0),
    ready_time          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX handovers_by_time ON handovers (ready_time DESC);
ALTER TABLE handovers ENABLE ROW LEVEL SECURITY;
ALTER TABLE handovers FORCE ROW LEVEL SECURITY;
CREATE POLICY fleet_all ON handovers TO atelier_fleet USING (true);
CREATE POLICY operator_all ON handovers TO atelier_operator USING (true);
GRANT SELECT, INSERT ON handovers TO atelier_fleet;
GRANT SELECT ON handovers TO atelier_operator;

-- How fast pictures are drawn, and what was cancelled: the fleet looks at the newest ends.
CREATE INDEX attempts_by_end ON attempts (end_time) WHERE end_time IS NOT NULL;
CREATE POLICY fleet_all ON attempts FOR SELECT TO atelier_fleet USING (true);
GRANT SELECT (tenant_id, image_id, attempt, gpu_id, model, claim_time, end_time, outcome, began_step, gpu_seconds)
    ON attempts TO atelier_fleet;

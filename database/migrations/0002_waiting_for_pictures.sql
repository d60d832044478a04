-- Who still waits for an interactive picture, and how well a job's finish was foretold.

-- Written every few seconds by whichever gateway streams to a listener of GenerateImage, so that a
-- client may come back to another replica, and a gateway that was killed leaves nobody unattended.
CREATE TABLE job_attendance (
    tenant_id    text NOT NULL,
    job_id       text NOT NULL PRIMARY KEY,
    attend_time  timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, job_id)
);
CREATE INDEX job_attendance_by_time ON job_attendance (attend_time);

-- The first estimate that could be made for a job; the truth comes to stand in jobs.end_time.
CREATE TABLE finish_estimates (
    tenant_id              text NOT NULL,
    job_id                 text NOT NULL PRIMARY KEY,
    estimate_time          timestamptz NOT NULL DEFAULT clock_timestamp(),
    estimated_finish_time  timestamptz NOT NULL,
    -- What was left of the job when it was made.
    open_image_count       integer NOT NULL CHECK (open_image_count > 0),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, job_id)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON finish_estimates
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The newest pictures of a tenant: what seconds per image are measured from.
CREATE INDEX attempts_with_pictures ON attempts (tenant_id, end_time DESC) WHERE outcome = 'SUCCEEDED';

ALTER TABLE job_attendance ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_attendance FORCE ROW LEVEL SECURITY;
ALTER TABLE finish_estimates ENABLE ROW LEVEL SECURITY;
ALTER TABLE finish_estimates FORCE ROW LEVEL SECURITY;

CREATE POLICY gateway_of_tenant ON job_attendance TO atelier_gateway USING (tenant_id = current_tenant_id());
CREATE POLICY gateway_of_tenant ON finish_estimates TO atelier_gateway USING (tenant_id = current_tenant_id());
GRANT SELECT, INSERT, UPDATE ON job_attendance TO atelier_gateway;
GRANT SELECT, INSERT ON finish_estimates TO atelier_gateway;
-- What kind of device a measurement was made on; devices belong to nobody in particular.
GRANT SELECT ON gpus TO atelier_gateway;

CREATE POLICY operator_all ON job_attendance TO atelier_operator USING (true);
CREATE POLICY operator_all ON finish_estimates TO atelier_operator USING (true);
GRANT SELECT ON finish_estimates TO atelier_operator;

CREATE POLICY housekeeper_all ON job_attendance TO atelier_housekeeper USING (true);
GRANT SELECT, DELETE ON job_attendance TO atelier_housekeeper;

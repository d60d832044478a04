-- What a tenant's workers sent that was not taken: a count for each reason, so that no lie fills a table.

CREATE TABLE worker_refusals (
    -- No foreign key: a worker may speak through the directory of a tenant that has gone.
    tenant_id      text NOT NULL,
    reason         text NOT NULL CHECK (reason IN ('EMPTY_CLAIM', 'MESSAGE_INVALID',
                       'SESSION_UNKNOWN', 'ATTEMPT_REFUSED', 'PICTURE_DAMAGED', 'PICTURE_INVALID')),
    refused_count  bigint NOT NULL CHECK (refused_count > 0),
    update_time    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, reason)
);
ALTER TABLE worker_refusals ENABLE ROW LEVEL SECURITY;
ALTER TABLE worker_refusals FORCE ROW LEVEL SECURITY;
CREATE POLICY recorder_of_tenant ON worker_refusals TO atelier_recorder USING (tenant_id = current_tenant_id());
CREATE POLICY operator_all ON worker_refusals TO atelier_operator USING (true);
GRANT SELECT, INSERT, UPDATE ON worker_refusals TO atelier_recorder;
GRANT SELECT ON worker_refusals TO atelier_operator;

-- Images that lost a worker are few and are looked for with every heartbeat and claim: without an index of their own
-- each look would read a tenant's whole queue.
CREATE INDEX images_that_run_alone ON images (tenant_id, model) WHERE state = 'QUEUED' AND lost_attempt_count > 0;

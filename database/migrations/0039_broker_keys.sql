-- The housekeeper counts how often a tenant's broker had to be put in order, beside what its workers sent in vain.

ALTER TABLE worker_refusals DROP CONSTRAINT worker_refusals_reason_check;
ALTER TABLE worker_refusals ADD CONSTRAINT worker_refusals_reason_check CHECK (reason IN ('EMPTY_CLAIM', 'GARBAGE_TOKEN',
    'BROKER_KEYS', 'MESSAGE_INVALID', 'SESSION_UNKNOWN', 'ATTEMPT_REFUSED', 'PICTURE_DAMAGED', 'PICTURE_INVALID'));
CREATE POLICY housekeeper_all ON worker_refusals TO atelier_housekeeper USING (true);
GRANT SELECT, INSERT, UPDATE ON worker_refusals TO atelier_housekeeper;

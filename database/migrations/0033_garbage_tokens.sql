-- What lies in a tenant's queue and is no token is counted beside what its workers sent in vain.

ALTER TABLE worker_refusals DROP CONSTRAINT worker_refusals_reason_check;
ALTER TABLE worker_refusals ADD CONSTRAINT worker_refusals_reason_check CHECK (reason IN ('EMPTY_CLAIM', 'GARBAGE_TOKEN',
    'MESSAGE_INVALID', 'SESSION_UNKNOWN', 'ATTEMPT_REFUSED', 'PICTURE_DAMAGED', 'PICTURE_INVALID'));

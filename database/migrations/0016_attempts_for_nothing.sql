-- Reports tell what attempts took that came to nothing; they are few among many.
CREATE INDEX attempts_for_nothing ON attempts (tenant_id, end_time)
    WHERE outcome IN ('FAILED', 'BLOCKED', 'CANCELLED', 'HANDED_BACK', 'LOST', 'EXPIRED');

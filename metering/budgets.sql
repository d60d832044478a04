-- name: take_turns
-- A tenant's budgets are set one after the other: their number has a limit, and two changes of one must not mix.
SELECT pg_advisory_xact_lock(hashtextextended('budgets of ' || %(tenant_id)s, 0));

-- name: lock_budget
-- Acceptances that count in it have ended, or wait.
SELECT period FROM budgets WHERE tenant_id = %(tenant_id)s AND budget_id = %(budget_id)s FOR NO KEY UPDATE;

-- name: set_budget
INSERT INTO budgets (tenant_id, budget_id, project, key_id, period, enforcement, limit_nanos, currency)
VALUES (%(tenant_id)s, %(budget_id)s, %(project)s, %(key_id)s, %(period)s, %(enforcement)s, %(limit_nanos)s, %(currency)s)
ON CONFLICT (tenant_id, budget_id) DO UPDATE
SET project = excluded.project, key_id = excluded.key_id, period = excluded.period, enforcement = excluded.enforcement,
    limit_nanos = excluded.limit_nanos, currency = excluded.currency, update_time = now();

-- name: list_budgets
SELECT budget.tenant_id, budget.budget_id, budget.project, budget.key_id, budget.period, budget.enforcement,
    budget.limit_nanos, budget.currency, coalesce(counted.held_nanos, 0) AS held_nanos,
    coalesce(counted.spent_nanos, 0) AS spent_nanos,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('percent', percent, 'used_nanos', used_nanos,
            'limit_nanos', alert.limit_nanos, 'create_time', alert.create_time) ORDER BY percent), '[]')
     FROM budget_alerts AS alert
     WHERE alert.tenant_id = counted.tenant_id AND alert.budget_id = counted.budget_id
         AND alert.period_start = counted.period_start) AS alerts
FROM budgets AS budget
JOIN tenants AS tenant USING (tenant_id)
CROSS JOIN LATERAL running_budget_period(budget.tenant_id, budget.budget_id, budget.period, tenant.time_zone, now())
    AS running
LEFT JOIN budget_periods AS counted
    ON counted.tenant_id = budget.tenant_id AND counted.budget_id = budget.budget_id
        AND counted.period_start = running.period_start
WHERE budget.tenant_id = %(tenant_id)s AND budget.budget_id > %(after)s
    AND (%(budget_id)s::text IS NULL OR budget.budget_id = %(budget_id)s)
ORDER BY budget.budget_id
LIMIT %(limit)s;

-- name: count_budgets
SELECT count(*)
FROM budgets
WHERE tenant_id = %(tenant_id)s AND budget_id <> %(budget_id)s;

-- name: lock_budgets_of_job
-- A statement of its own: whoever waited here reads the counters with the next, as the one before has left them.
SELECT budget.budget_id
FROM jobs AS job
JOIN budgets AS budget
    ON budget.tenant_id = job.tenant_id AND budget.project IN ('', job.project) AND budget.key_id IN ('', job.key_id)
WHERE job.job_id = %(job_id)s
ORDER BY budget.budget_id
FOR NO KEY UPDATE OF budget;

-- name: hold_in_budgets
-- All counters of a job at once: opened, held in, noted and, where a share of the limit is reached, told. Names those
-- that have no room and then writes nothing; should that ever be wrong, the CHECK of the counter still refuses.
WITH counted AS (
    SELECT budget.tenant_id, budget.budget_id, running.period_start, running.period_end,
        coalesce(counter.limit_nanos, budget.limit_nanos) AS limit_nanos,
        coalesce(counter.guarded, budget.enforcement = 'HARD') AS guarded,
        coalesce(counter.held_nanos, 0)::numeric + coalesce(counter.spent_nanos, 0) + %(amount_nanos)s AS used_nanos
    FROM jobs AS job
    JOIN tenants AS tenant USING (tenant_id)
    JOIN budgets AS budget USING (tenant_id)
    CROSS JOIN LATERAL running_budget_period(budget.tenant_id, budget.budget_id, budget.period, tenant.time_zone, now())
        AS running
    LEFT JOIN budget_periods AS counter
        ON counter.tenant_id = budget.tenant_id AND counter.budget_id = budget.budget_id
            AND counter.period_start = running.period_start
    WHERE job.job_id = %(job_id)s AND budget.budget_id = ANY(%(budget_ids)s)
), refusing AS (
    -- A number that ends is a budget that ends, whatever it enforces.
    SELECT budget_id
    FROM counted
    WHERE (guarded AND %(amount_nanos)s > 0 AND used_nanos > limit_nanos) OR used_nanos > 9223372036854775807
), held AS (
    INSERT INTO budget_periods AS counter (tenant_id, budget_id, period_start, period_end, limit_nanos, guarded,
        held_nanos)
    SELECT tenant_id, budget_id, period_start, period_end, limit_nanos, guarded, %(amount_nanos)s
    FROM counted
    WHERE NOT EXISTS (SELECT FROM refusing)
    ORDER BY budget_id
    ON CONFLICT (tenant_id, budget_id, period_start) DO UPDATE
    SET held_nanos = counter.held_nanos + excluded.held_nanos,
        excess_nanos = CASE WHEN excluded.held_nanos > 0 THEN 0 ELSE counter.excess_nanos END
    RETURNING tenant_id, budget_id, period_start, limit_nanos, held_nanos + spent_nanos AS used_nanos
), noted AS (
    INSERT INTO job_budgets (tenant_id, job_id, budget_id, period_start)
    SELECT tenant_id, %(job_id)s, budget_id, period_start
    FROM held
), told AS (
    INSERT INTO budget_alerts (tenant_id, budget_id, period_start, percent, used_nanos, limit_nanos)
    SELECT tenant_id, budget_id, period_start, reached.percent, used_nanos, limit_nanos
    FROM held
    CROSS JOIN unnest(%(percents)s::smallint[]) AS reached (percent)
    WHERE used_nanos::numeric * 100 >= limit_nanos::numeric * reached.percent
    ON CONFLICT DO NOTHING
)
SELECT budget_id
FROM refusing
ORDER BY budget_id;

-- name: lock_counters_of_jobs
SELECT counted.budget_id
FROM job_budgets AS link
JOIN budget_periods AS counted USING (tenant_id, budget_id, period_start)
WHERE link.job_id = ANY(%(job_ids)s)
ORDER BY counted.tenant_id, counted.budget_id, counted.period_start
FOR NO KEY UPDATE OF counted;

-- name: resolve_in_budgets
UPDATE budget_periods AS counted
SET held_nanos = held_nanos - moved.hold_nanos, spent_nanos = spent_nanos + moved.charged_nanos
FROM (
    SELECT link.tenant_id, link.budget_id, link.period_start, sum(resolved.hold_nanos) AS hold_nanos,
        sum(resolved.charged_nanos) AS charged_nanos
    FROM job_budgets AS link
    JOIN unnest(%(job_ids)s::text[], %(holds_nanos)s::bigint[], %(charges_nanos)s::bigint[])
        AS resolved (job_id, hold_nanos, charged_nanos) USING (job_id)
    GROUP BY link.tenant_id, link.budget_id, link.period_start
) AS moved
WHERE counted.tenant_id = moved.tenant_id AND counted.budget_id = moved.budget_id
    AND counted.period_start = moved.period_start;

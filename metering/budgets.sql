-- name: set_budget
INSERT INTO budgets (tenant_id, budget_id, project, key_id, period, enforcement, limit_nanos, currency)
VALUES (%(tenant_id)s, %(budget_id)s, %(project)s, %(key_id)s, %(period)s, %(enforcement)s, %(limit_nanos)s, %(currency)s)
ON CONFLICT (tenant_id, budget_id) DO UPDATE
SET project = excluded.project, key_id = excluded.key_id, period = excluded.period, enforcement = excluded.enforcement,
    limit_nanos = excluded.limit_nanos, currency = excluded.currency, update_time = now();

-- name: change_running_periods
-- What is used already stays used: it is the excess over a limit that was lowered, which no acceptance may use.
-- A new kind of period may begin where an ended one did (a month where its first day did): that counter runs again.
UPDATE budget_periods AS counted
SET limit_nanos = %(limit_nanos)s, guarded = %(enforcement)s = 'HARD',
    excess_nanos = greatest(0, held_nanos + spent_nanos - %(limit_nanos)s),
    period_end = CASE WHEN counted.period_start = running.period_start THEN running.period_end ELSE counted.period_end END
FROM (
    SELECT budget_period_start(%(period)s, time_zone, now()) AS period_start,
        budget_period_end(%(period)s, time_zone, now()) AS period_end
    FROM tenants
    WHERE tenant_id = %(tenant_id)s
) AS running
WHERE counted.tenant_id = %(tenant_id)s AND counted.budget_id = %(budget_id)s
    AND (counted.period_end > now() OR counted.period_start = running.period_start);

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
LEFT JOIN budget_periods AS counted
    ON counted.tenant_id = budget.tenant_id AND counted.budget_id = budget.budget_id
        AND counted.period_start = budget_period_start(budget.period, tenant.time_zone, now())
WHERE budget.tenant_id = %(tenant_id)s AND budget.budget_id > %(after)s
    AND (%(budget_id)s::text IS NULL OR budget.budget_id = %(budget_id)s)
ORDER BY budget.budget_id
LIMIT %(limit)s;

-- name: count_budgets
SELECT count(*)
FROM budgets
WHERE tenant_id = %(tenant_id)s AND budget_id <> %(budget_id)s;

-- name: lock_budgets_of_job
SELECT budget.tenant_id, budget.budget_id,
    budget_period_start(budget.period, tenant.time_zone, now()) AS period_start
FROM jobs AS job
JOIN tenants AS tenant USING (tenant_id)
JOIN budgets AS budget
    ON budget.tenant_id = job.tenant_id AND budget.project IN ('', job.project) AND budget.key_id IN ('', job.key_id)
WHERE job.job_id = %(job_id)s
ORDER BY budget.budget_id
FOR NO KEY UPDATE OF budget;

-- name: open_period
INSERT INTO budget_periods (tenant_id, budget_id, period_start, period_end, limit_nanos, guarded)
SELECT budget.tenant_id, budget.budget_id, %(period_start)s,
    budget_period_end(budget.period, tenant.time_zone, now()), budget.limit_nanos, budget.enforcement = 'HARD'
FROM budgets AS budget
JOIN tenants AS tenant USING (tenant_id)
WHERE budget.tenant_id = %(tenant_id)s AND budget.budget_id = %(budget_id)s
ON CONFLICT DO NOTHING;

-- name: hold_in_budget
UPDATE budget_periods
SET held_nanos = held_nanos + %(amount_nanos)s,
    excess_nanos = CASE WHEN %(amount_nanos)s > 0 THEN 0 ELSE excess_nanos END
WHERE tenant_id = %(tenant_id)s AND budget_id = %(budget_id)s AND period_start = %(period_start)s;

-- name: note_job_budget
INSERT INTO job_budgets (tenant_id, job_id, budget_id, period_start)
VALUES (%(tenant_id)s, %(job_id)s, %(budget_id)s, %(period_start)s);

-- name: alert
INSERT INTO budget_alerts (tenant_id, budget_id, period_start, percent, used_nanos, limit_nanos)
SELECT tenant_id, budget_id, period_start, reached.percent, held_nanos + spent_nanos, limit_nanos
FROM budget_periods
CROSS JOIN unnest(%(percents)s::smallint[]) AS reached (percent)
WHERE tenant_id = %(tenant_id)s AND budget_id = %(budget_id)s AND period_start = %(period_start)s
    AND (held_nanos + spent_nanos)::numeric * 100 >= limit_nanos::numeric * reached.percent
ON CONFLICT DO NOTHING;

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

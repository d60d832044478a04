-- name: lock_counters
-- Captures and releases of the budget's jobs have ended, or wait.
SELECT FROM budget_periods
WHERE tenant_id = %(tenant_id)s AND budget_id = %(budget_id)s
ORDER BY period_start
FOR NO KEY UPDATE;

-- name: open_counter
-- A month may begin where its first day did: then that counter runs again. It guards once its jobs are in it.
INSERT INTO budget_periods (tenant_id, budget_id, period_start, period_end, limit_nanos, guarded)
SELECT tenant_id, %(budget_id)s, budget_period_start(%(period)s, time_zone, now()),
    budget_period_end(%(period)s, time_zone, now()), %(limit_nanos)s, false
FROM tenants
WHERE tenant_id = %(tenant_id)s
ON CONFLICT (tenant_id, budget_id, period_start) DO UPDATE SET period_end = excluded.period_end, guarded = false
RETURNING period_start;

-- name: close_other_counters
UPDATE budget_periods
SET period_end = greatest(now(), period_start + interval '1 microsecond')
WHERE tenant_id = %(tenant_id)s AND budget_id = %(budget_id)s AND period_start <> %(period_start)s
    AND period_end > now();

-- name: move_jobs
-- Jobs of the budget that were accepted within a counter's time, from whatever counter they are in; with what they hold
-- and have spent, which nobody changes while the counters are locked.
WITH chosen AS (
    SELECT link.job_id, link.period_start
    FROM job_budgets AS link
    JOIN jobs AS job USING (tenant_id, job_id)
    JOIN budget_periods AS opened
        ON opened.tenant_id = link.tenant_id AND opened.budget_id = link.budget_id
            AND opened.period_start = %(period_start)s
    WHERE link.tenant_id = %(tenant_id)s AND link.budget_id = %(budget_id)s
        AND link.period_start <> opened.period_start
        AND job.create_time >= opened.period_start AND job.create_time < opened.period_end
), moved AS (
    UPDATE job_budgets AS link
    SET period_start = %(period_start)s
    FROM chosen
    WHERE link.tenant_id = %(tenant_id)s AND link.budget_id = %(budget_id)s AND link.job_id = chosen.job_id
), sums AS (
    SELECT chosen.period_start,
        coalesce(sum(hold.amount_nanos) FILTER (WHERE resolution.transfer_id IS NULL), 0) AS held_nanos,
        coalesce(sum(resolution.amount_nanos), 0) AS spent_nanos
    FROM chosen
    JOIN transfers AS hold ON hold.job_id = chosen.job_id AND hold.kind = 'PENDING'
    LEFT JOIN transfers AS resolution ON resolution.pending_id = hold.transfer_id
    GROUP BY chosen.period_start
), differences AS (
    SELECT period_start, -held_nanos AS held_nanos, -spent_nanos AS spent_nanos
    FROM sums
    UNION ALL
    SELECT %(period_start)s, coalesce(sum(held_nanos), 0), coalesce(sum(spent_nanos), 0)
    FROM sums
)
UPDATE budget_periods AS counted
SET held_nanos = counted.held_nanos + difference.held_nanos,
    spent_nanos = counted.spent_nanos + difference.spent_nanos
FROM differences AS difference
WHERE counted.tenant_id = %(tenant_id)s AND counted.budget_id = %(budget_id)s
    AND counted.period_start = difference.period_start;

-- name: change_running_counters
-- What is used already stays used: it is the excess over a limit that was lowered, which no acceptance may use.
UPDATE budget_periods
SET limit_nanos = %(limit_nanos)s, guarded = %(enforcement)s = 'HARD',
    excess_nanos = greatest(0, held_nanos + spent_nanos - %(limit_nanos)s)
WHERE tenant_id = %(tenant_id)s AND budget_id = %(budget_id)s AND period_end > now();

-- name: alert_of_running_counters
INSERT INTO budget_alerts (tenant_id, budget_id, period_start, percent, used_nanos, limit_nanos)
SELECT tenant_id, budget_id, period_start, reached.percent, held_nanos + spent_nanos, limit_nanos
FROM budget_periods
CROSS JOIN unnest(%(percents)s::smallint[]) AS reached (percent)
WHERE tenant_id = %(tenant_id)s AND budget_id = %(budget_id)s AND period_end > now()
    AND held_nanos + spent_nanos > 0
    AND (held_nanos + spent_nanos)::numeric * 100 >= limit_nanos::numeric * reached.percent
ON CONFLICT DO NOTHING;

-- name: lock_budgets_of_tenant
SELECT FROM budgets WHERE tenant_id = %(tenant_id)s ORDER BY budget_id FOR NO KEY UPDATE;

-- name: move_ends
-- The same midnight on the other clock. A period that is over by it ends now, and its day or month does not come again.
UPDATE budget_periods
SET period_end = greatest(period_end AT TIME ZONE %(old_time_zone)s AT TIME ZONE %(new_time_zone)s,
    period_start + interval '1 microsecond')
WHERE tenant_id = %(tenant_id)s AND period_end > now() AND period_end < 'infinity';

-- A budget's counter goes on when the tenant's clock or the budget's kind of period changes, and so do tiers' counters.

-- The counter of a budget that runs at a time, or the one that begins: where the clock says, but never before the last
-- one's end. Of two that run the later end is meant: the other one was closed when the budget's period became another.
CREATE FUNCTION running_budget_period(of_tenant text, of_budget text, period text, time_zone text, at timestamptz)
    RETURNS TABLE (period_start timestamptz, period_end timestamptz)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce(running.period_start, greatest(budget_period_start(period, time_zone, at), ended.period_end)),
        coalesce(running.period_end, budget_period_end(period, time_zone, at))
    FROM (VALUES (1)) AS always
    LEFT JOIN LATERAL (
        SELECT counted.period_start, counted.period_end
        FROM budget_periods AS counted
        WHERE counted.tenant_id = of_tenant AND counted.budget_id = of_budget
            AND counted.period_start <= at AND counted.period_end > at
        ORDER BY counted.period_end DESC
        LIMIT 1
    ) AS running ON true
    LEFT JOIN LATERAL (
        SELECT max(counted.period_end) AS period_end
        FROM budget_periods AS counted
        WHERE counted.tenant_id = of_tenant AND counted.budget_id = of_budget AND counted.period_end <= at
    ) AS ended ON true;
END;

-- A job's counter becomes another when its budget's period does; a row is never taken away.
DROP TRIGGER append_only ON job_budgets;
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON job_budgets
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
GRANT UPDATE (period_start) ON job_budgets TO atelier_gateway;

-- Who changes a tenant's clock moves the ends of what runs by it. Acceptances wait for the budgets' rows meanwhile.
GRANT UPDATE (update_time) ON budgets TO atelier_operator;
GRANT UPDATE (period_end) ON budget_periods TO atelier_operator;
DROP POLICY operator_all ON period_quantities;
CREATE POLICY operator_all ON period_quantities TO atelier_operator USING (true);
GRANT UPDATE (period_start) ON period_quantities TO atelier_operator;

-- name: count_up
-- The counters as they stood before: what a statement with a changing part reads is the state it began with.
WITH period AS (
    SELECT tenant_id, budget_period_start('MONTH', time_zone, now()) AS period_start
    FROM tenants
    WHERE tenant_id = %(tenant_id)s
), added AS (
    INSERT INTO period_quantities (tenant_id, period_start, component, model, quantity)
    SELECT period.tenant_id, period.period_start, consumed.component, %(model)s, consumed.quantity
    FROM period
    CROSS JOIN unnest(%(components)s::text[], %(quantities)s::bigint[]) AS consumed (component, quantity)
    ON CONFLICT (tenant_id, period_start, component, model) DO UPDATE
    SET quantity = period_quantities.quantity + excluded.quantity
)
SELECT counted.component, counted.model, counted.quantity
FROM period_quantities AS counted
JOIN period USING (tenant_id, period_start);

-- name: read_counts
SELECT counted.component, counted.model, counted.quantity
FROM period_quantities AS counted
WHERE counted.tenant_id = %(tenant_id)s AND counted.period_start = %(period_start)s;

-- name: move_starts
-- Every month keeps what it counted, and has the same first midnight on the other clock.
UPDATE period_quantities
SET period_start = period_start AT TIME ZONE %(old_time_zone)s AT TIME ZONE %(new_time_zone)s
WHERE tenant_id = %(tenant_id)s;

-- name: get_clock
SELECT time_zone FROM usage_roll_up_clocks WHERE tenant_id = %(tenant_id)s;

-- name: list_wrong_clocks
SELECT tenant.tenant_id, tenant.time_zone
FROM tenants AS tenant
LEFT JOIN usage_roll_up_clocks AS clock USING (tenant_id)
WHERE clock.time_zone IS DISTINCT FROM tenant.time_zone;

-- name: tenants_to_roll_up
SELECT tenant_id
FROM usage_roll_up_clocks AS clock
WHERE EXISTS (SELECT FROM fresh_usage AS fresh WHERE fresh.tenant_id = clock.tenant_id)
ORDER BY tenant_id;

-- name: lock_clock
SELECT FROM usage_roll_up_clocks WHERE tenant_id = %(tenant_id)s FOR NO KEY UPDATE;

-- name: roll_up
WITH waiting AS (
    SELECT fresh.tenant_id, fresh.image_id
    FROM fresh_usage AS fresh
    JOIN usage_roll_up_clocks AS clock USING (tenant_id)
    WHERE fresh.tenant_id = %(tenant_id)s
    LIMIT %(limit)s
    FOR UPDATE OF fresh SKIP LOCKED
), taken AS (
    DELETE FROM fresh_usage AS fresh
    USING waiting
    WHERE fresh.tenant_id = waiting.tenant_id AND fresh.image_id = waiting.image_id
    RETURNING fresh.tenant_id, fresh.image_id
), rolled AS (
    INSERT INTO usage_roll_ups AS rolled (tenant_id, label_key, label_value, is_month, day, outcome, key_id, project,
        model, width, height, energy_source, currency, image_count, gpu_microseconds, energy_millijoules,
        energy_variance, billed_cost_nanos)
    SELECT used.tenant_id, label.key, label.value, grain.is_month,
        date_trunc(grain.unit, used.charge_time AT TIME ZONE clock.time_zone)::date, used.outcome, used.key_id, used.project, used.model, used.width, used.height, used.energy_source,
        used.currency, count(*), sum(round(used.gpu_seconds * 1000000)::bigint), sum(used.energy_millijoules),
        sum(used.energy_error_millijoules::double precision ^ 2), sum(used.price_nanos)
    FROM taken
    JOIN shown_usage AS used USING (tenant_id, image_id)
    JOIN usage_roll_up_clocks AS clock USING (tenant_id)
    CROSS JOIN LATERAL (
        SELECT '' AS key, '' AS value
        UNION ALL
        SELECT key, value FROM jsonb_each_text(used.labels)
    ) AS label
    CROSS JOIN (VALUES (false, 'day'), (true, 'month')) AS grain (is_month, unit)
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
    ON CONFLICT (tenant_id, label_key, is_month, day, label_value, outcome, key_id, project, model, width, height, energy_source,
        currency) DO UPDATE
    SET image_count = rolled.image_count + excluded.image_count,
        gpu_microseconds = rolled.gpu_microseconds + excluded.gpu_microseconds,
        energy_millijoules = rolled.energy_millijoules + excluded.energy_millijoules,
        energy_variance = rolled.energy_variance + excluded.energy_variance,
        billed_cost_nanos = rolled.billed_cost_nanos + excluded.billed_cost_nanos
)
SELECT count(*) FROM taken;

-- name: forget_days
DELETE FROM usage_roll_ups WHERE tenant_id = %(tenant_id)s;

-- name: forget_fresh
DELETE FROM fresh_usage WHERE tenant_id = %(tenant_id)s;

-- name: roll_up_all
-- What commits while this runs is on the list of fresh ones, and stays there.
INSERT INTO usage_roll_ups (tenant_id, label_key, label_value, is_month, day, outcome, key_id, project, model, width,
    height, energy_source, currency, image_count, gpu_microseconds, energy_millijoules, energy_variance,
    billed_cost_nanos)
SELECT used.tenant_id, label.key, label.value, grain.is_month,
    date_trunc(grain.unit, used.charge_time AT TIME ZONE %(time_zone)s)::date, used.outcome, used.key_id, used.project, used.model, used.width, used.height, used.energy_source,
    used.currency, count(*), sum(round(used.gpu_seconds * 1000000)::bigint), sum(used.energy_millijoules),
    sum(used.energy_error_millijoules::double precision ^ 2), sum(used.price_nanos)
FROM shown_usage AS used
CROSS JOIN LATERAL (
    SELECT '' AS key, '' AS value
    UNION ALL
    SELECT key, value FROM jsonb_each_text(used.labels)
) AS label
CROSS JOIN (VALUES (false, 'day'), (true, 'month')) AS grain (is_month, unit)
WHERE used.tenant_id = %(tenant_id)s
    AND NOT EXISTS (SELECT FROM fresh_usage AS fresh
                    WHERE fresh.tenant_id = used.tenant_id AND fresh.image_id = used.image_id)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13;

-- name: set_clock
INSERT INTO usage_roll_up_clocks (tenant_id, time_zone)
VALUES (%(tenant_id)s, %(time_zone)s)
ON CONFLICT (tenant_id) DO UPDATE SET time_zone = excluded.time_zone;

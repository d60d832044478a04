-- name: partial_usage
-- Charged without all of its energy, a part at a time; none is looked at for longer than two days.
SELECT used.tenant_id, used.image_id, used.attempt, used.gpu_id, used.session_id, used.last_mark_number,
    used.charge_time, shown.energy_millijoules, shown.energy_error_millijoules, shown.energy_source
FROM usage_records AS used
JOIN shown_usage AS shown USING (tenant_id, image_id)
WHERE used.energy_source = 'PARTIAL' AND used.gpu_id IS NOT NULL AND used.session_id IS NOT NULL
    AND used.last_mark_number IS NOT NULL AND used.charge_time > now() - interval '2 days'
    AND (used.charge_time, used.image_id) > (%(after_time)s, %(after_image_id)s)
ORDER BY used.charge_time, used.image_id
LIMIT %(limit)s;

-- name: lock_clock
-- Nobody takes this tenant's usage into its sums meanwhile.
SELECT 1 FROM usage_roll_up_clocks WHERE tenant_id = %(tenant_id)s FOR NO KEY UPDATE;

-- name: amend
-- A record that is in the sums leaves them with the energy they know, and is fresh again with the one it took.
WITH summed AS (
    SELECT used.*, clock.time_zone
    FROM shown_usage AS used
    JOIN usage_roll_up_clocks AS clock USING (tenant_id)
    WHERE used.tenant_id = %(tenant_id)s AND used.image_id = %(image_id)s
        AND NOT EXISTS (SELECT FROM fresh_usage AS fresh
                        WHERE fresh.tenant_id = used.tenant_id AND fresh.image_id = used.image_id)
), fresh_again AS (
    INSERT INTO fresh_usage (tenant_id, image_id)
    SELECT tenant_id, image_id
    FROM summed
), out_of_sums AS (
    UPDATE usage_roll_ups AS rolled
    SET image_count = rolled.image_count - 1,
        gpu_microseconds = rolled.gpu_microseconds - round(summed.gpu_seconds * 1000000)::bigint,
        energy_millijoules = rolled.energy_millijoules - summed.energy_millijoules,
        energy_variance = rolled.energy_variance - summed.energy_error_millijoules::double precision ^ 2,
        billed_cost_nanos = rolled.billed_cost_nanos - summed.price_nanos
    FROM summed
    CROSS JOIN LATERAL (
        SELECT '' AS key, '' AS value
        UNION ALL
        SELECT key, value FROM jsonb_each_text(summed.labels)
    ) AS label
    CROSS JOIN (VALUES (false, 'day'), (true, 'month')) AS grain (is_month, unit)
    WHERE rolled.tenant_id = summed.tenant_id AND rolled.label_key = label.key AND rolled.label_value = label.value
        AND rolled.is_month = grain.is_month
        AND rolled.day = date_trunc(grain.unit, summed.charge_time AT TIME ZONE summed.time_zone)::date
        AND rolled.outcome = summed.outcome AND rolled.key_id = summed.key_id AND rolled.project = summed.project
        AND rolled.model = summed.model AND rolled.width = summed.width AND rolled.height = summed.height
        AND rolled.energy_source = summed.energy_source AND rolled.currency = summed.currency
)
INSERT INTO energy_amendments (tenant_id, image_id, energy_millijoules, energy_error_millijoules, energy_source)
VALUES (%(tenant_id)s, %(image_id)s, %(energy_millijoules)s, %(energy_error_millijoules)s, %(energy_source)s)
ON CONFLICT (tenant_id, image_id) DO UPDATE
SET energy_millijoules = excluded.energy_millijoules, energy_error_millijoules = excluded.energy_error_millijoules,
    energy_source = excluded.energy_source, amend_time = now();

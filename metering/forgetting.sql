-- name: forget_words_of_usage
UPDATE usage_records
SET labels = '{}', project = ''
WHERE tenant_id = %(tenant_id)s AND job_id = ANY (%(job_ids)s) AND (labels <> '{}' OR project <> '');

-- name: has_words_in_roll_ups
SELECT EXISTS (SELECT FROM usage_roll_ups
               WHERE tenant_id = %(tenant_id)s AND (label_key <> '' OR label_value <> '' OR project <> ''));

-- name: forget_job_budgets
DELETE FROM job_budgets WHERE tenant_id = %(tenant_id)s;

-- name: forget_budget_alerts
DELETE FROM budget_alerts WHERE tenant_id = %(tenant_id)s;

-- name: forget_budget_periods
DELETE FROM budget_periods WHERE tenant_id = %(tenant_id)s;

-- name: forget_budgets
DELETE FROM budgets WHERE tenant_id = %(tenant_id)s;

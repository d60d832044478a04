-- A budget whose period becomes another goes on with the counter that begins where the new period does.
GRANT UPDATE (period_end) ON budget_periods TO atelier_gateway;

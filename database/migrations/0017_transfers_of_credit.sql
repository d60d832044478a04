-- A draft sums what a tenant was granted and what of it expired: a few transfers among all of its holds and captures.
CREATE INDEX transfers_of_credit ON transfers (tenant_id, create_time)
    WHERE reason IN ('CREDIT_GRANT', 'BREAKAGE');

-- Every minute the invariants look at what changed. The table grows in the order of time: a range index of a few pages
-- finds its end, as those of transfers and job_events do.
CREATE INDEX usage_records_newest ON usage_records USING brin (charge_time);

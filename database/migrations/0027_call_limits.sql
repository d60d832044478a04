-- How often and how much at once a tenant may call each gateway; NULL: what the installation has set.
ALTER TABLE tenants
    ADD COLUMN calls_per_minute_max integer CHECK (calls_per_minute_max > 0),
    ADD COLUMN calls_in_flight_max integer CHECK (calls_in_flight_max > 0);

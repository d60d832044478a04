-- What jobs cost is asked with every list of jobs; without this it reads all records of the installation.
CREATE INDEX usage_records_by_job ON usage_records (tenant_id, job_id) INCLUDE (price_nanos);

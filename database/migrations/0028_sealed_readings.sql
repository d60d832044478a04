-- Up to which segment an hour's readings are in an hour that was sealed: whoever looks for open hours every few seconds
-- reads those, and not all that were ever.
ALTER TABLE energy_readings ADD COLUMN sealed_number bigint;
UPDATE energy_readings AS reading
SET sealed_number = reading.last_number
FROM energy_hours AS hour
WHERE hour.gpu_id = reading.gpu_id AND hour.hour_start_time = reading.hour_start_time AND hour.seal_time IS NOT NULL
    AND hour.segment_mark = (SELECT sum(other.last_number)
                             FROM energy_readings AS other
                             WHERE other.gpu_id = hour.gpu_id AND other.hour_start_time = hour.hour_start_time);
CREATE INDEX energy_readings_open ON energy_readings (gpu_id, hour_start_time)
    WHERE sealed_number IS DISTINCT FROM last_number;
GRANT UPDATE (sealed_number) ON energy_readings TO atelier_housekeeper;

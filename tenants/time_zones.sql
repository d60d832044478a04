-- name: count_agreeing
-- First midnights of months as the database reads the tenant's clock, held against those that Python read.
SELECT count(*)
FROM unnest(%(local_times)s::timestamp[], %(instants)s::timestamptz[]) AS month (local_time, instant)
WHERE local_time AT TIME ZONE %(time_zone)s = instant;

-- A duty's name becomes the lock's number; the prefix keeps it apart from other users of such locks.

-- name: try_lock
SELECT pg_try_advisory_lock(hashtextextended('atelier duty ' || %s, 0))

-- name: unlock
SELECT pg_advisory_unlock(hashtextextended('atelier duty ' || %s, 0))

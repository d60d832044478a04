-- name: listen
LISTEN atelier_jobs;

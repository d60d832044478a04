-- A worker that Kubernetes started is shown as such: the fleet there starts none and only says what it hears.
ALTER TABLE workers DROP CONSTRAINT workers_launcher_check;
ALTER TABLE workers ADD CONSTRAINT workers_launcher_check
    CHECK (launcher IN ('process', 'sandbox', 'container', 'kubernetes'));

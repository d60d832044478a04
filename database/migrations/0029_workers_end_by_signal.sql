-- Nobody ever set it: the fleet ends a worker by a signal, and where it does not start them (Kubernetes) their own
-- orchestrator does.
ALTER TABLE worker_sessions DROP COLUMN drain;

"""Generated: version 1 of the contracts between our own processes (protos/services/internal/v1)."""

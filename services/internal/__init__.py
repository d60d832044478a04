"""Generated: the contracts between our own processes."""

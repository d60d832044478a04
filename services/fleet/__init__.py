"""Which tenant gets workers on which device; makes what a tenant needs and restarts what dies."""

"""Who calls and who is served: tenants, their API keys and roles, their isolation names."""

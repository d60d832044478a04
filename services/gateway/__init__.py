"""The door: authenticates, admits, validates and serves the public gRPC services."""

"""Generated: the messages and stubs of the public contract (protos/atelier/v1)."""

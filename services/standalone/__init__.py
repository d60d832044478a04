"""Everything on one machine: embedded PostgreSQL and brokers, every process, until Ctrl-C."""

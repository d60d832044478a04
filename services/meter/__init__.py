"""The meter: reads the energy counters of this host and turns workers' marks into segments."""

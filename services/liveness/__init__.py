"""Whether a process hangs, seen from inside and told outside."""

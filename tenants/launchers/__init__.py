"""How processes that work for one tenant are started, watched and ended."""

"""The GPU process of one tenant: no database, no network; it draws what the recorder hands out."""

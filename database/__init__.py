"""How we reach PostgreSQL: pools, named queries, migrations."""

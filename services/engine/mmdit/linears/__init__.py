"""Matrix products, one file per arithmetic; `making.py` picks."""

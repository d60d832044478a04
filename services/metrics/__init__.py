"""What a process tells Prometheus: the names of all metrics, and how they are served.

The processes count in the objects that do the work; `metrics.py` beside each of them reads what
they counted when somebody scrapes. Nothing here asks PostgreSQL because of a scrape.
"""

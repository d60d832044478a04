"""The wire to the workers: Celery messages that are tokens, each worth one image."""

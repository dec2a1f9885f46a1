"""The job queue in PostgreSQL: claims, leases and the sweep.

It depends only on the models. A Celery message only says that a row may be ready.
"""

"""Processes and queues: Celery tasks, what runs beside them in a worker, the loops, and the stream adapters."""

"""What runs inside a Celery worker beside its tasks: heartbeat, watchdog, shutdown, counters, traces.

Each module connects to Celery's signals when it is imported (``CELERY_IMPORTS`` in the settings).
"""

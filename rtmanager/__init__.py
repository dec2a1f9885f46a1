"""The composition root: settings, addresses, the Celery application. Knows everybody, imported by nobody."""

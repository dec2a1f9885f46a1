"""The composition root: settings, addresses, the Celery application. Knows everybody, imported by nobody."""

# Loaded with Django, so that whoever sends a hint sends it to our broker and not to Celery's default one.
from rtmanager.celery import app as celery_app

__all__ = ["celery_app"]

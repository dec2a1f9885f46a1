"""The Celery application. A message is only a hint, the job is a row in PostgreSQL: nothing here must be reliable."""

import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rtmanager.settings")

app = Celery("rtmanager")
app.config_from_object("django.conf:settings", namespace="CELERY")


@setup_logging.connect
def keep_our_logging(**_details: object) -> None:
    """Logging is configured by the settings; having a receiver keeps Celery from replacing it."""

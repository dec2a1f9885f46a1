"""The Celery application. A message is only a hint, the job is a row in PostgreSQL: nothing here must be reliable."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rtmanager.settings")

app = Celery("rtmanager")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["tasks"], related_name="lifecycle")
app.autodiscover_tasks(["tasks"], related_name="monitors", force=True)

"""The Celery application. A message is only a notification of a row in PostgreSQL, so messages may get lost."""

import os
from functools import partial
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, setup_logging, task_prerun
from django.conf import settings
from django.db import close_old_connections

from rtmanager.database_urls import connect
from rtmanager.logging_config import write_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rtmanager.settings")
# Django's checks would import the whole API and its documentation, to check URLs that a worker does not serve.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

app = Celery("rtmanager")
app.config_from_object("django.conf:settings", namespace="CELERY")


@setup_logging.connect
def disable_celery_logging(**_details: object) -> None:
    """Keep the logging of the Django settings: Celery configures its own only if this signal has no receiver."""


@celeryd_init.connect
def configure_worker(instance: Any, conf: Any, **_details: object) -> None:
    """Apply what only worker processes need."""
    from celery.apps import worker  # noqa: PLC0415 - other processes do not need it

    conf.result_backend = "db+postgresql+psycopg2://"
    creator = partial(connect, settings.RTMANAGER.database_url)
    conf.database_engine_options = {**conf.database_engine_options, "creator": creator}
    # As `celery -q` does: no banner.
    instance.quiet = True
    # Celery prints messages of its signal handlers as plain text, past the log.
    worker.safe_say = _write_to_log  # type: ignore[attr-defined]


@task_prerun.connect
def close_database_connections(**_details: object) -> None:
    """Do what Django does at each request: close connections that are too old or broken, keep the others."""
    close_old_connections()


def _write_to_log(message: str, _file: object = None) -> None:
    write_line(message.strip(), logger="celery.apps.worker")

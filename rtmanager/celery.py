"""The Celery application. A message is only a hint, the job is a row in PostgreSQL: nothing here must be reliable."""

import os
from functools import cached_property
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, setup_logging, task_prerun
from django.conf import settings
from django.db import close_old_connections

from rtmanager.logs import write_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rtmanager.settings")
# A worker would load all of the API and its documentation, only to check addresses that it does not serve.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")


class Application(Celery):
    """Celery without its pictures: what its programs have to say, they say in the log."""

    @cached_property
    def Worker(self) -> Any:  # noqa: N802 - Celery's name
        """The program ``celery worker``."""
        return _without_banner(super().Worker)


def _without_banner(program: Any) -> Any:
    def __init__(self: Any, *arguments: Any, **options: Any) -> None:  # noqa: N807 - it becomes a method
        super(silent, self).__init__(*arguments, **{**options, "quiet": True})

    silent: Any = type(program.__name__, (program,), {"__init__": __init__, "__module__": program.__module__})
    return silent


app = Application("rtmanager")
app.config_from_object("django.conf:settings", namespace="CELERY")


@setup_logging.connect
def keep_our_logging(**_details: object) -> None:
    """Logging is configured by the settings; having a receiver keeps Celery from replacing it."""


@celeryd_init.connect
def keep_results(conf: Any, **_details: object) -> None:
    """Only a worker has results to keep. Others would load SQLAlchemy for it with the first message they send."""
    conf.result_backend = settings.RTM_RESULT_BACKEND


@task_prerun.connect
def look_after_connections(**_details: object) -> None:
    """As Django does at each request: a connection that is old or was hung up on is made anew, the others are kept."""
    close_old_connections()


@celeryd_init.connect
def say_it_in_the_log(**_details: object) -> None:
    """What a worker says from inside its signal handlers goes past all logging, as plain text."""
    from celery.apps import worker  # noqa: PLC0415 - only worker processes need it

    worker.safe_say = _say  # type: ignore[attr-defined]


def _say(message: str, _file: object = None) -> None:
    write_line(message.strip(), logger="celery.apps.worker")

"""How a worker ends: it takes up nothing more, finishes what it does, and is gone within SHUTDOWN_TIMEOUT."""

import os
import threading
from typing import Any

import structlog
from celery.signals import worker_shutting_down
from django.conf import settings

from operations.leases import keeper
from operations.runner import drain

log = structlog.get_logger(__name__)

# Shares of SHUTDOWN_TIMEOUT: when work that is still going on is left to others, and when the process ends even if
# the database does not answer.
_LEAVE_WORK_AT = 0.8
_END_AT = 0.95
# How long a worker that ends at once tries to tell the database.
_GOODBYE_SECONDS = 5.0


@worker_shutting_down.connect
def leave_in_time(**_details: Any) -> None:
    """Celery's warm shutdown waits for running tasks without limit; a pull may take longer than anybody waits."""
    drain()
    seconds = settings.RTMANAGER.shutdown_timeout.total_seconds()
    for share, deed in ((_LEAVE_WORK_AT, _leave_work), (_END_AT, _end)):
        timer = threading.Timer(seconds * share, deed)
        timer.daemon = True
        timer.start()


def leave_now(exit_code: int) -> None:
    """End this process at once, with its leases if the database answers. Does not return."""
    drain()
    timer = threading.Timer(_GOODBYE_SECONDS, os._exit, [exit_code])
    timer.daemon = True
    timer.start()
    try:
        log.warning("work_left_to_others", operations=keeper.let_go())
    finally:
        os._exit(exit_code)


def _leave_work() -> None:
    log.warning("work_left_to_others", operations=keeper.let_go())
    _end()


def _end() -> None:
    # Not sys.exit: threads in the middle of a Docker call would hold the process up.
    os._exit(0)

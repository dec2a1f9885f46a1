"""The shutdown of a worker: no new work, running work finishes, and the process ends within SHUTDOWN_TIMEOUT."""

import os
import threading
from collections.abc import Callable
from typing import Any

import structlog
from celery.signals import worker_shutting_down
from django.conf import settings

from operations.queue.lease_renewer import lease_renewer
from runtimes.process import shutting_down

log = structlog.get_logger(__name__)

# Shares of SHUTDOWN_TIMEOUT. At the first, the worker releases the leases of running work. At the second, the process
# ends even if the database does not answer.
_RELEASE_AT = 0.8
_EXIT_AT = 0.95
# How long a process that must end now tries to release its leases.
_RELEASE_SECONDS = 5.0


@worker_shutting_down.connect
def on_shutdown(**_details: Any) -> None:
    """Limit Celery's warm shutdown, which waits for running tasks without limit; an image pull may take minutes."""
    shutting_down.set()
    seconds = settings.RTMANAGER.shutdown_timeout.total_seconds()
    _after(seconds * _RELEASE_AT, exit_now, 0)
    # sys.exit would wait for threads in the middle of a Docker call.
    _after(seconds * _EXIT_AT, os._exit, 0)


def exit_now(exit_code: int) -> None:
    """End this process at once; release its leases if the database answers. Does not return."""
    shutting_down.set()
    _after(_RELEASE_SECONDS, os._exit, exit_code)
    try:
        log.warning("leases_released", operations=lease_renewer.release_all())
    finally:
        os._exit(exit_code)


def _after(seconds: float, action: Callable[[int], Any], exit_code: int) -> None:
    timer = threading.Timer(seconds, action, [exit_code])
    timer.daemon = True
    timer.start()

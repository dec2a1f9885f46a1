"""Holds the lock of this worker in a session of its own, until the process ends."""

import select
import threading
import time
from typing import Any

import structlog
from celery.signals import worker_ready
from django.db import DatabaseError, InterfaceError, connection

from operations.queue.worker_lock import SETTLE_SECONDS, worker_lock
from runtimes.process import backoff

log = structlog.get_logger(__name__)

_FIRST_PAUSE_SECONDS = 0.2
# After a restart of PostgreSQL, each worker must hold its lock again before the sweeper looks for it.
_LONGEST_PAUSE_SECONDS = SETTLE_SECONDS / 3
# A failover may leave a connection open that reaches no server: an idle one notices nothing, so it sends something.
_CHECK_MILLISECONDS = 1000
# How long a worker that starts waits for its lock before it takes work.
_START_SECONDS = 2.0


@worker_ready.connect
def start_lock_holder(**_details: Any) -> None:
    threading.Thread(target=_run, name="worker-lock", daemon=True).start()
    worker_lock.was_taken.wait(_START_SECONDS)


def _run() -> None:
    failures = 0
    while True:
        try:
            worker_lock.hold()
            failures = 0
            while not _is_readable():
                worker_lock.check()
        except (DatabaseError, InterfaceError) as error:
            if not failures:
                log.info("worker_lock_not_taken", error=str(error).strip())
            time.sleep(backoff(failures, first=_FIRST_PAUSE_SECONDS, longest=_LONGEST_PAUSE_SECONDS))
            failures += 1
        worker_lock.release()


def _is_readable() -> bool:
    """Wait up to a second for the end of the session: the server sends nothing else to an idle one but rare notices."""
    poller = select.poll()
    poller.register(connection.connection, select.POLLIN)
    return bool(poller.poll(_CHECK_MILLISECONDS))

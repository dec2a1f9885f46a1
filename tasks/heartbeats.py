"""A worker says now and then that it is there, and how busy: asking all of them through the broker would make whoever
asks wait for the slowest, and for those that are gone.
"""

import threading
from datetime import timedelta
from typing import Any

import structlog
from celery.signals import worker_ready, worker_shutting_down
from celery.worker import state
from django.db import DatabaseError, InterfaceError, connection

from operations import pulses
from operations.runner import worker_name

log = structlog.get_logger(__name__)

_EVERY_SECONDS = 15.0
_FORGOTTEN_AFTER = timedelta(hours=1)
_stopping = threading.Event()


@worker_ready.connect
def begin(sender: Any, **_details: Any) -> None:
    """Beat from when the worker is ready."""
    threading.Thread(target=_run, args=[sender.pool.limit], name="heartbeat", daemon=True).start()


@worker_shutting_down.connect
def end(**_details: Any) -> None:
    """Who leaves is counted no more."""
    _stopping.set()


def _run(hands: int) -> None:
    while True:
        try:
            beat_once(hands=hands, busy=len(state.active_requests))
            if _stopping.wait(_EVERY_SECONDS):
                pulses.forget(_name())
                return
        except (DatabaseError, InterfaceError) as error:
            connection.close()
            log.info("heartbeat_not_written", error=str(error).strip())
            if _stopping.wait(_EVERY_SECONDS):
                return


def beat_once(*, hands: int, busy: int) -> None:
    """Say that this worker is there, with so many hands, of which so many are full; forget those long gone."""
    pulses.beat(_name(), hands=hands, busy=busy)
    pulses.forget_older(pulses.WORKER_PREFIX, age=_FORGOTTEN_AFTER)


def _name() -> str:
    return pulses.name_of_worker(worker_name())

"""Each worker writes a heartbeat with its slot usage every 15 s.

Celery's remote control is off: any user of the broker could stop workers with it.
"""

import threading
from datetime import timedelta
from typing import Any

import structlog
from celery.signals import worker_ready
from celery.worker import state
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from operations.installation import state_root
from operations.monitoring import heartbeats
from operations.queue.claims import worker_name
from runtimes.process import shutting_down

log = structlog.get_logger(__name__)

_INTERVAL_SECONDS = 15.0
_DELETE_AFTER = timedelta(hours=1)


@worker_ready.connect
def start_heartbeat(sender: Any, **_details: Any) -> None:
    threading.Thread(target=_run, args=[sender.pool.limit], name="heartbeat", daemon=True).start()


def _run(slots: int) -> None:
    while True:
        try:
            write_heartbeat(slots=slots, busy=len(state.active_requests))
            if shutting_down.wait(_INTERVAL_SECONDS):
                heartbeats.delete(_name())
                return
        except (DatabaseError, InterfaceError) as error:
            connection.close()
            log.info("heartbeat_not_written", error=str(error).strip())
            if shutting_down.wait(_INTERVAL_SECONDS):
                return


def write_heartbeat(*, slots: int, busy: int) -> None:
    """Record slot usage and, if this worker cannot use its state root, why; delete heartbeats older than an hour."""
    refusal = state_root.refusal_of_root(settings.RTMANAGER.game_state_root)
    heartbeats.record_heartbeat(_name(), slots=slots, busy=busy, state_root=refusal)
    heartbeats.delete_older(heartbeats.WORKER_PREFIX, age=_DELETE_AFTER)


def _name() -> str:
    return heartbeats.worker_heartbeat_name(worker_name())

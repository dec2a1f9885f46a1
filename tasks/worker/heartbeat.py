"""Each worker writes a heartbeat with its slot usage every 15 s.

Celery's remote control is off: any user of the broker could stop workers with it.
"""

from typing import Any

from celery.signals import worker_ready, worker_shutdown
from celery.worker import state
from django.conf import settings

from operations.installation import state_root
from operations.monitoring.heartbeats import WORKER_PREFIX, ProcessHeartbeat

_started: list[ProcessHeartbeat] = []


@worker_ready.connect
def start_heartbeat(sender: Any, **_details: Any) -> None:
    slots = sender.pool.limit
    _started.append(ProcessHeartbeat(WORKER_PREFIX, detail=lambda: describe(slots, busy=len(state.active_requests))))
    _started[-1].start()


@worker_shutdown.connect
def end_heartbeat(**_details: Any) -> None:
    for heartbeat in _started:
        heartbeat.end()


def describe(slots: int, *, busy: int) -> dict[str, Any]:
    """Return the slot usage and, if this worker cannot use its state root, why."""
    refusal = state_root.refusal_of_root(settings.RTMANAGER.game_state_root)
    return {"slots": slots, "busy": busy, "state_root": refusal}

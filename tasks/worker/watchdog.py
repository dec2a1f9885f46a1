"""Ends a worker that is connected but consumes nothing, although messages wait and slots are free.

After a restart of the broker, Celery's consumer may stay connected and read nothing more. Such a process looks healthy
from outside, so each worker checks itself.
"""

import threading
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import structlog
from celery import current_app
from celery.signals import task_received, worker_ready
from celery.worker import state

from runtimes.process import shutting_down
from tasks.broker import waiting_messages
from tasks.stall_detector import STUCK_EXIT_CODE, StallDetector, checks
from tasks.worker.shutdown import exit_now

log = structlog.get_logger(__name__)

_received: Counter[str] = Counter()


class ConsumerWatchdog:
    """Evaluates one worker: waiting messages per queue, received messages, and busy slots."""

    def __init__(self, queues: Collection[str], *, slots: int) -> None:
        self._detectors = {queue: StallDetector() for queue in queues}
        self._slots = slots

    def stalled_queues(self, waiting: Mapping[str, int], *, received: Mapping[str, int], busy: int) -> list[str]:
        """Run one check; return the queues that the worker could have read, but did not for CHECKS checks in a row.

        A worker without a free slot is not stalled, however long its work takes. A queue is not stalled if it is
        empty, or if the broker did not report its length.
        """
        is_free = busy < self._slots
        return [
            queue
            for queue, detector in self._detectors.items()
            if detector.is_stalled(received.get(queue, 0) if is_free and waiting.get(queue) else None)
        ]


@task_received.connect
def count_received(request: Any, **_details: Any) -> None:
    """Count a message from its queue."""
    _received[request.delivery_info.get("routing_key", "")] += 1


@worker_ready.connect
def start_watchdog(sender: Any, **_details: Any) -> None:
    """Watch this worker from when it is ready; its queues are known then."""
    # The configured queues: a queue that the consumer cancelled later is not read, and must be found.
    queues = frozenset(current_app.amqp.queues.consume_from)
    watchdog = ConsumerWatchdog(queues, slots=sender.pool.limit)
    threading.Thread(target=watch, args=[watchdog, queues], name="watchdog", daemon=True).start()


def watch(watchdog: ConsumerWatchdog, queues: Collection[str]) -> None:
    """Check CHECKS times per STUCK_AFTER until the worker shuts down; end the process if a queue is stalled."""
    for _check in checks(shutting_down):
        received, busy = dict(_received), len(state.active_requests)
        waiting = waiting_messages(current_app, queues)
        stalled = watchdog.stalled_queues(waiting, received=received, busy=busy)
        if stalled:
            log.critical("worker_stuck", queues={queue: waiting[queue] for queue in stalled}, busy=busy)
            exit_now(STUCK_EXIT_CODE)

"""A worker that is connected but deaf: messages wait for it, it has hands free, and it takes none.

Celery's consumer has been seen to stay connected after a broker's restart and to read nothing more. Nobody notices
such a process by looking at it; so it looks at itself.
"""

import threading
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import structlog
from celery import Celery, current_app
from celery.signals import task_received, worker_ready, worker_shutting_down
from celery.worker import state
from django.conf import settings

from tasks.leaving import leave_now
from tasks.patience import LOOKS, STUCK_EXIT_CODE, Patience

log = structlog.get_logger(__name__)

_received: Counter[str] = Counter()
_stopping = threading.Event()


class DeafWorker:
    """Judges one worker by what can be seen of it: what waits per queue, what it has received, who is free."""

    def __init__(self, queues: Collection[str], *, hands: int) -> None:
        self._patience = {queue: Patience() for queue in queues}
        self._hands = hands

    def ignored(self, waiting: Mapping[str, int], *, received: Mapping[str, int], busy: int) -> list[str]:
        """Take one look; the queues from which it took nothing at too many looks in a row, though it could have.

        A worker whose hands are all full is not deaf, however long its work takes; nor is one for which nothing
        waits, or of whose queues nothing is known.
        """
        is_free = busy < self._hands
        return [
            queue
            for queue, patience in self._patience.items()
            if patience.is_over(received.get(queue, 0) if is_free and waiting.get(queue) else None)
        ]


def waiting_messages(app: Celery, queues: Collection[str]) -> dict[str, int]:
    """How many messages wait in each queue; empty when the broker does not say. A connection of its own: the
    consumer's may be what is broken.
    """
    connection = app.connection_for_read()
    try:
        with connection:
            # Before anything that would try again until the broker is back: this look would be a late one.
            connection.ensure_connection(max_retries=1, interval_start=0, reraise_as_library_errors=False)
            channel: Any = connection.channel()
            return {queue: channel.queue_declare(queue=queue).message_count for queue in queues}
    except (*connection.connection_errors, *connection.channel_errors):
        # The consumer is reconnecting as well; what it does then is Celery's business.
        return {}


@task_received.connect
def count(request: Any, **_details: Any) -> None:
    """Note that something came from this queue."""
    _received[request.delivery_info.get("routing_key", "")] += 1


@worker_ready.connect
def begin(sender: Any, **_details: Any) -> None:
    """Watch this worker from when it is ready; what it is to read is known then."""
    # What it should read: a queue that was cancelled later by remote control is not read, and that is the point.
    queues = frozenset(current_app.amqp.queues.consume_from)
    worker = DeafWorker(queues, hands=sender.pool.limit)
    threading.Thread(target=watch, args=[worker, queues], name="watchdog", daemon=True).start()


@worker_shutting_down.connect
def end(**_details: Any) -> None:
    """A worker that leaves takes nothing more, and should not."""
    _stopping.set()


def watch(worker: DeafWorker, queues: Collection[str]) -> None:
    """Look now and then until the worker leaves; when it turns out to be deaf, end it."""
    stuck_after = settings.RTMANAGER.stuck_after.total_seconds()
    while not _stopping.wait(stuck_after / LOOKS if stuck_after else None):
        received, busy = dict(_received), len(state.active_requests)
        waiting = waiting_messages(current_app, queues)
        ignored = worker.ignored(waiting, received=received, busy=busy)
        if ignored:
            log.critical("worker_stuck", queues={queue: waiting[queue] for queue in ignored}, busy=busy)
            leave_now(STUCK_EXIT_CODE)

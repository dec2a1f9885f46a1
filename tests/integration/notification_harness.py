"""Hints that wait in a queue of this process, as Celery's messages do, until the test lets a worker take one."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar

from django.db import connection

from operations import runner
from operations.execution import no_ops
from operations.models import Operation
from operations.states import OperationKind

QUEUED = f"{__name__}.QueuedNotifier"


class QueuedNotifier:
    """First in, first out; ``queue`` holds operation ids, and the games of which replays are to be answered."""

    queue: ClassVar[deque[int | Sequence[str]]] = deque()

    def send(self, operations: Sequence[tuple[int, OperationKind]]) -> None:
        self.queue.extend(operation_id for operation_id, _kind in operations)

    def complete_no_ops(self, game_ids: Sequence[str]) -> None:
        self.queue.append(game_ids)


def follow_one_notification() -> None:
    """Let a worker take the oldest hint."""
    subject = QueuedNotifier.queue.popleft()
    if isinstance(subject, int):
        runner.run(subject)
    else:
        no_ops.complete_waiting(subject)


def follow_all_notifications() -> None:
    """Let one worker take hint after hint until none is left."""
    while QueuedNotifier.queue:
        follow_one_notification()


def notified_games() -> list[str]:
    """The games of the hints that wait, oldest first."""
    numbers = [subject for subject in QueuedNotifier.queue if isinstance(subject, int)]
    games = dict(Operation.objects.filter(pk__in=numbers).values_list("pk", "game_id"))
    return [
        game for subject in QueuedNotifier.queue for game in ([games[subject]] if isinstance(subject, int) else subject)
    ]


def in_a_thread_with_its_own_connection(action: Callable[[], None]) -> threading.Thread:
    """Do it in a thread, which is begun."""

    def do() -> None:
        try:
            action()
        finally:
            connection.close()

    thread = threading.Thread(target=do)
    thread.start()
    return thread

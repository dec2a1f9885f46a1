"""Hints that wait in a queue of this process, as Celery's messages do, until the test lets a worker take one."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar

from django.db import connection

from operations import replays, runner
from operations.models import Operation
from operations.states import OpKind

QUEUED = f"{__name__}.QueuedHints"


class QueuedHints:
    """First in, first out; ``queue`` holds operation ids, and the games of which replays are to be answered."""

    queue: ClassVar[deque[int | Sequence[str]]] = deque()

    def send(self, operations: Sequence[tuple[int, OpKind]]) -> None:
        self.queue.extend(operation_id for operation_id, _kind in operations)

    def answer(self, game_ids: Sequence[str]) -> None:
        self.queue.append(game_ids)


def follow_one_hint() -> None:
    """Let a worker take the oldest hint."""
    subject = QueuedHints.queue.popleft()
    if isinstance(subject, int):
        runner.run(subject)
    else:
        replays.answer(subject)


def follow_all_hints() -> None:
    """Let one worker take hint after hint until none is left."""
    while QueuedHints.queue:
        follow_one_hint()


def games_hinted() -> list[str]:
    """The games of the hints that wait, oldest first."""
    numbers = [subject for subject in QueuedHints.queue if isinstance(subject, int)]
    games = dict(Operation.objects.filter(pk__in=numbers).values_list("pk", "game_id"))
    return [
        game for subject in QueuedHints.queue for game in ([games[subject]] if isinstance(subject, int) else subject)
    ]


def on_a_connection_of_its_own(deed: Callable[[], None]) -> threading.Thread:
    """Do it in a thread, which is begun."""

    def do() -> None:
        try:
            deed()
        finally:
            connection.close()

    thread = threading.Thread(target=do)
    thread.start()
    return thread

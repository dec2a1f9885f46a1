"""Hints that wait in a queue of this process, as Celery's messages do, until the test lets a worker take one."""

from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from operations import runner
from operations.models import Operation
from operations.states import OpKind

QUEUED = f"{__name__}.QueuedHints"


class QueuedHints:
    """First in, first out; ``queue`` holds operation ids."""

    queue: ClassVar[deque[int]] = deque()

    def send(self, operations: Sequence[tuple[int, OpKind]]) -> None:
        self.queue.extend(operation_id for operation_id, _kind in operations)


def follow_one_hint() -> None:
    """Let a worker take the oldest hint."""
    runner.run(QueuedHints.queue.popleft())


def follow_all_hints() -> None:
    """Let one worker take hint after hint until none is left."""
    while QueuedHints.queue:
        follow_one_hint()


def games_hinted() -> list[str]:
    """The games of the hints that wait, oldest first."""
    games = dict(Operation.objects.filter(pk__in=QueuedHints.queue).values_list("pk", "game_id"))
    return [games[operation_id] for operation_id in QueuedHints.queue]

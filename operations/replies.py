"""Waiting for an operation: the row is the answer, a wake-up only makes the wait short."""

import time
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from operations.models import Operation

# The row is read again at least this often, so that a lost wake-up costs a moment and never an answer.
_LONGEST_SILENCE_SECONDS = 1.0


class Replies(Protocol):
    """Wake-ups for those who wait. Losing one is harmless."""

    def ping(self) -> None:
        """Return when the carrier answers, else raise ServiceUnavailableError."""

    def announce(self, operation_id: int) -> None:
        """Wake whoever waits for this operation, now or within the next minute. Never raises."""

    def wait(self, operation_id: int, *, timeout_seconds: float) -> None:
        """Return when the operation has been announced or the time is over. Never raises."""


def replies() -> Replies:
    """The adapter that ``settings.RTM_REPLIES`` names."""
    adapter: Replies = import_string(settings.RTM_REPLIES)()
    return adapter


def wait_until_finished(operation: Operation, *, timeout_seconds: float) -> Operation:
    """Wait for the operation to finish; returns the row as it is then, still open when the time is over.

    Must not be called inside a transaction: the row would never seem to change.
    """
    deadline = time.monotonic() + timeout_seconds
    board = replies()
    while operation.is_open and (left := deadline - time.monotonic()) > 0:
        board.wait(operation.pk, timeout_seconds=min(left, _LONGEST_SILENCE_SECONDS))
        operation = Operation.objects.get(pk=operation.pk)
    return operation

"""Wait for the completion of an operation. The row has the result; a notification only shortens the wait."""

import time
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from operations.models import Operation

# The row is read at least this often, so that a lost notification only delays the response.
_POLL_SECONDS = 1.0


class CompletionNotifier(Protocol):
    """Notifies waiting callers that an operation is finished. A lost notification does no harm."""

    def ping(self) -> None:
        """Raise ServiceUnavailableError if the server behind it does not answer."""

    def notify(self, operation_id: int) -> None:
        """Notify the callers that wait for this operation, now or within the next minute. Never raises."""

    def wait(self, operation_id: int, *, timeout_seconds: float) -> None:
        """Return when the operation was notified or the time is over. Never raises."""


def completion_notifier() -> CompletionNotifier:
    """The adapter that ``settings.RTM_COMPLETION_NOTIFIER`` names."""
    adapter: CompletionNotifier = import_string(settings.RTM_COMPLETION_NOTIFIER)()
    return adapter


def wait_until_finished(operation: Operation, *, timeout_seconds: float) -> Operation:
    """Wait for the operation to finish; returns its row, which is still open if the time is over.

    Must not be called inside a transaction, because the row would not change there.
    """
    deadline = time.monotonic() + timeout_seconds
    notifier = completion_notifier()
    while operation.is_open and (left := deadline - time.monotonic()) > 0:
        notifier.wait(operation.pk, timeout_seconds=min(left, _POLL_SECONDS))
        operation = Operation.objects.get(pk=operation.pk)
    return operation

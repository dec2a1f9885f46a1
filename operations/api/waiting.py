"""Holding a call until its operation is done, the time is over, or this process is asked to end."""

import threading
import time

from operations.models import Operation
from operations.replies import wait_until_finished

# How soon a waiting call notices that the process ends.
_SLICE_SECONDS = 1.0
_closing = threading.Event()


def wait(operation: Operation, *, timeout_seconds: float) -> Operation:
    """The operation's row when it has finished, or still open when the waiting is over."""
    deadline = time.monotonic() + timeout_seconds
    while operation.is_open and not _closing.is_set() and (left := deadline - time.monotonic()) > 0:
        operation = wait_until_finished(operation, timeout_seconds=min(left, _SLICE_SECONDS))
    return operation


def idle(seconds: float) -> bool:
    """Let some time pass; False, at once, when this process is asked to end."""
    return not _closing.wait(seconds)


def stop_waiting() -> None:
    """From now on nobody waits in this process: an honest 202 at once beats a connection cut in a while."""
    _closing.set()


def resume_waiting() -> None:
    """Undo ``stop_waiting``, for a process that goes on after all."""
    _closing.clear()

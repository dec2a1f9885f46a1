"""Calls to servers that may hang. Each runs in its own daemon thread; the caller waits for a limited time."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import structlog
from django.db import DatabaseError, InterfaceError, connection

from runtimes.containers import disconnect
from runtimes.containers.base import NotObservedError
from runtimes.exceptions import RuntimeManagerError, ServiceUnavailableError

log = structlog.get_logger(__name__)

T = TypeVar("T")

# The timeouts of the clients end a call that hangs. Until then this many calls are enough.
_MAX_CALLS = 16
_slots = threading.BoundedSemaphore(_MAX_CALLS)


class Call(Future[T]):
    """A call under way. It delays neither other calls nor the end of the process."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def start(self, function: Callable[[], T]) -> Self:
        threading.Thread(target=self._run, args=[function], name=f"call-{self.name}", daemon=True).start()
        return self

    def _run(self, function: Callable[[], T]) -> None:
        try:
            self.set_result(function())
        except Exception as error:  # noqa: BLE001 - the future raises it where the caller waits
            self.set_exception(error)
        finally:
            # The connections to Docker and the database belong to this thread, which ends now.
            disconnect()
            connection.close()


def call_in_thread(function: Callable[[], T], *, name: str) -> Call[T]:
    """Start the call and return at once. Refuses while 16 earlier calls hang."""

    def run() -> T:
        try:
            return function()
        finally:
            _slots.release()

    call = Call[T](name)
    if _slots.acquire(blocking=False):
        return call.start(run)
    call.set_exception(ServiceUnavailableError(f"{name} hangs: {_MAX_CALLS} calls have not returned yet"))
    return call


class SingleFlight(Generic[T]):
    """A function that runs at most once at a time. Callers that start it meanwhile share the call under way."""

    def __init__(self, name: str, function: Callable[[], T]) -> None:
        self.name = name
        self._function = function
        self._lock = threading.Lock()
        self._current: Call[T] | None = None

    def start(self) -> Call[T]:
        """Start the call, or return the one under way."""
        with self._lock:
            if self._current is None or self._current.done():
                self._current = Call[T](self.name).start(self._function)
            return self._current


class Deadline:
    """A time limit that several calls share."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends_at = time.monotonic() + seconds

    def remaining(self) -> float:
        return max(0.0, self._ends_at - time.monotonic())


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """The value of a call, or the reason why there is none. ``failure`` is empty if the call succeeded."""

    value: T | None = None
    failure: str = ""
    error: BaseException | None = None


def wait(call: Call[T], deadline: Deadline) -> Outcome[T]:
    """Wait until the call returns or the deadline ends. Never raises; an unexpected error is logged."""
    try:
        error = call.exception(timeout=deadline.remaining())
    except TimeoutError as late:
        error = late
    match error:
        case None:
            return Outcome(call.result())
        case TimeoutError():
            failure = f"no answer within {deadline.seconds:g} s"
        case RuntimeManagerError():
            failure = error.message or str(error.code)
        case DatabaseError() | InterfaceError():
            failure = next(iter(str(error).strip().splitlines()), type(error).__name__)
        case _:
            # A defect in one call must not hide the results of the others.
            log.error("bounded_call_failed", call=call.name, exc_info=error)
            failure = "the check itself failed; see the log"
    return Outcome(failure=failure, error=error)


def docker_seconds(seconds: float) -> float:
    """Return the limit for Docker's calls inside a call that waits this long in ``wait_for_docker``.

    It ends first, so that a Docker that hangs is reported, and not only a missing answer.
    """
    return 0.9 * seconds


def wait_for_docker(call: Call[T], deadline: Deadline) -> Outcome[T]:
    """Wait as ``wait`` does. A call that does not return in time has not observed Docker, which may be fine."""
    outcome = wait(call, deadline)
    if isinstance(outcome.error, TimeoutError):
        error = NotObservedError(f"not observed: {outcome.failure}")
        return Outcome(failure=error.message, error=error)
    return outcome

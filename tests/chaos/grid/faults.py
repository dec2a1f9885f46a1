"""Injects faults at the boundaries of a process, without a change of the product.

An ``Interceptor`` wraps everything that leaves one thread: calls of the ports, SQL statements and commits. It numbers
them and injects one fault at one of them. Threads without an interceptor, such as other workers, are not affected.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, NoReturn

import psycopg2
from django.db import OperationalError, connection, connections
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from runtimes.containers.base import ContainersUnavailableError
from tasks.streams.base import StreamsUnavailableError
from tests.chaos.grid.fault_points import name_of_statement
from tests.servers.waiting import wait_for

Cut = Callable[[], NoReturn]
Effect = Callable[[Cut], None]

_interceptor: ContextVar["Interceptor | None"] = ContextVar("interceptor", default=None)


class Fault(StrEnum):
    """What happens at a step. Each is one column of the grid."""

    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"
    TIMED_OUT = "timed out"
    RESPONSE_LOST = "response lost"
    DELIVERED_TWICE = "delivered twice"
    LEASE_LOST = "lease lost"
    OVERTAKEN = "overtaken"
    TAKEN_FOR_DEAD = "taken for dead"


KILLS = (Fault.KILLED_BEFORE, Fault.KILLED_AFTER)
OWNERSHIP_FAULTS = (Fault.LEASE_LOST, Fault.OVERTAKEN, Fault.TAKEN_FOR_DEAD)


def _nothing(cut: Cut) -> None:
    """Change nothing."""


@dataclass
class Interceptor:
    """Records the steps in order, and injects a fault at the step ``at``."""

    at: str = ""
    before: Effect = _nothing
    after: Effect = _nothing
    steps: list[str] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)

    @property
    def was_reached(self) -> bool:
        """Whether the step was reached."""
        return self.at in self.steps

    def pass_through(self, name: str, call: Callable[[], Any], *, cut: Cut) -> Any:
        """Run one call as a step."""
        self._counts[name] += 1
        step = name if self._counts[name] == 1 else f"{name} ({self._counts[name]})"
        is_target = step == self.at and not self.was_reached
        self.steps.append(step)
        if is_target:
            self.before(cut)
        answer = call()
        if is_target:
            self.after(cut)
        return answer

    @contextmanager
    def watching(self) -> Iterator["Interceptor"]:
        """Intercept everything that the calling thread does in the block."""
        commit = connection._commit  # type: ignore[attr-defined]  # noqa: SLF001 - commits pass no public hook
        connection._commit = lambda: self.pass_through("commit", commit, cut=_cut_database)  # type: ignore[attr-defined]  # noqa: SLF001
        token = _interceptor.set(self)
        try:
            with connection.execute_wrapper(self._statement):
                yield self
        finally:
            _interceptor.reset(token)
            del connection._commit  # type: ignore[attr-defined]  # noqa: SLF001

    def _statement(self, execute: Callable[..., Any], sql: str, params: Any, *more: Any) -> Any:
        name = name_of_statement(sql, params)
        if not name:
            return execute(sql, params, *more)
        return self.pass_through(name, lambda: execute(sql, params, *more), cut=_cut_database)


class Watched:
    """A port whose calls pass through the interceptor of the calling thread, if it has one."""

    def __init__(self, inner: Any, *, cut: Cut) -> None:
        self._inner = inner
        self._cut = cut

    def __getattr__(self, name: str) -> Any:
        attribute, interceptor = getattr(self._inner, name), _interceptor.get()
        if interceptor is None or name in {"close", "time_limit"} or not callable(attribute):
            return attribute
        return lambda *args, **kwargs: interceptor.pass_through(name, lambda: attribute(*args, **kwargs), cut=self._cut)


class WatchedContainers:
    """The target of ``settings.RTM_CONTAINERS``: the Docker port of the grid, intercepted."""

    make: ClassVar[Callable[[], Any]]

    @classmethod
    def from_settings(cls) -> Watched:
        return Watched(cls.make(), cut=_cut_docker)


def watched_streams(inner: Any) -> Any:
    """Intercept a streams port."""
    return Watched(inner, cut=_cut_redis)


def _cut_docker() -> NoReturn:
    message = "Docker did not respond in time (injected by the grid)"
    raise ContainersUnavailableError(message)


def _cut_redis() -> NoReturn:
    message = "Redis did not respond in time (injected by the grid)"
    raise StreamsUnavailableError(message)


def _cut_database() -> NoReturn:
    # The connection is closed as well: an open transaction is lost.
    if connection.connection is not None:
        connection.connection.close()
    message = "the server closed the connection unexpectedly (injected by the grid)"
    raise OperationalError(message)


def _kill(cut: Cut) -> None:
    del cut
    os.kill(os.getpid(), signal.SIGKILL)


def _cut_off(cut: Cut) -> None:
    cut()


class SecondWorker:
    """A second worker that starts at one step, with its own thread and database connection."""

    def __init__(self, action: Callable[[], None], *, pauses_at: str = "") -> None:
        self._action = action
        self._pauses_at = pauses_at
        self._paused, self._released = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="second-worker")

    def run_until_idle(self, cut: Cut) -> None:
        """Run it until it ends, pauses, or waits for a lock of the calling thread."""
        del cut
        self._thread.start()
        wait_for(self._is_quiet, what="the second worker to end, to pause or to wait")

    def finish(self) -> None:
        """Continue it until it ends."""
        self._released.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=30)
        assert not self._thread.is_alive(), "the second worker hangs"
        assert self._failure is None, f"the second worker failed: {self._failure!r}"

    def _run(self) -> None:
        interceptor = Interceptor(at=self._pauses_at, after=self._pause)
        try:
            with interceptor.watching():
                self._action()
        except BaseException as failure:  # noqa: BLE001 - a thread's failure is the test's
            self._failure = failure
        finally:
            connections.close_all()

    def _pause(self, cut: Cut) -> None:
        del cut
        self._paused.set()
        self._released.wait(timeout=30)

    def _is_quiet(self) -> bool:
        self._thread.join(timeout=0.01)
        return not self._thread.is_alive() or self._paused.is_set() or _lock_awaited()


def _lock_awaited() -> bool:
    """Whether a session waits for a lock. Uses another connection: ours may be in the transaction that holds it."""
    if connection.connection is None or connection.connection.info.transaction_status == TRANSACTION_STATUS_IDLE:
        return False
    with psycopg2.connect(**connection.get_connection_params()) as aside, aside.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)")
        (waits,) = cursor.fetchone() or (False,)
    aside.close()
    return bool(waits)


def interceptor_for(fault: Fault, step: str, second_worker: SecondWorker) -> Interceptor:
    """Return an interceptor that injects this fault at this step."""
    match fault:
        case Fault.KILLED_BEFORE:
            return Interceptor(at=step, before=_kill)
        case Fault.KILLED_AFTER:
            return Interceptor(at=step, after=_kill)
        case Fault.TIMED_OUT:
            return Interceptor(at=step, before=_cut_off)
        case Fault.RESPONSE_LOST:
            return Interceptor(at=step, after=_cut_off)
        case _:
            return Interceptor(at=step, before=second_worker.run_until_idle)

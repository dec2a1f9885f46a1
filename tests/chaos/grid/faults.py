"""What can go wrong at the edges of a process, put there without the product knowing.

A ``Wire`` stands round everything that leaves one thread: calls on the ports, statements and commits. It numbers
them as they pass and lets one thing happen at one of them. Whoever has no wire, other workers and the recovery, is
not touched.
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
from tests.chaos.grid.points import name_of_statement
from tests.servers.waiting import wait_for

Cut = Callable[[], NoReturn]
Happening = Callable[[Cut], None]

_wire: ContextVar["Wire | None"] = ContextVar("wire", default=None)


class Fault(StrEnum):
    """What happens at a step. Each is one column of the grid."""

    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"
    TIMED_OUT = "timed out"
    ANSWER_LOST = "answer lost"
    DELIVERED_TWICE = "delivered twice"
    LEASE_LOST = "lease lost"
    OVERTAKEN = "overtaken"


KILLS = (Fault.KILLED_BEFORE, Fault.KILLED_AFTER)
THEFTS = (Fault.LEASE_LOST, Fault.OVERTAKEN)


def _nothing(cut: Cut) -> None:
    """Let the call through."""


@dataclass
class Wire:
    """The steps that passed, in order, and what is to happen at the one named ``at``."""

    at: str = ""
    before: Happening = _nothing
    after: Happening = _nothing
    steps: list[str] = field(default_factory=list)
    _seen: Counter[str] = field(default_factory=Counter)

    @property
    def has_struck(self) -> bool:
        """Whether the step was reached."""
        return self.at in self.steps

    def carry(self, name: str, call: Callable[[], Any], *, cut: Cut) -> Any:
        """Let one call pass."""
        self._seen[name] += 1
        step = name if self._seen[name] == 1 else f"{name} ({self._seen[name]})"
        is_it = step == self.at and not self.has_struck
        self.steps.append(step)
        if is_it:
            self.before(cut)
        answer = call()
        if is_it:
            self.after(cut)
        return answer

    @contextmanager
    def watching(self) -> Iterator["Wire"]:
        """Stand round everything that the calling thread does inside the block."""
        commit = connection._commit  # type: ignore[attr-defined]  # noqa: SLF001 - commits pass no public hook
        connection._commit = lambda: self.carry("commit", commit, cut=_cut_database)  # type: ignore[attr-defined]  # noqa: SLF001
        token = _wire.set(self)
        try:
            with connection.execute_wrapper(self._statement):
                yield self
        finally:
            _wire.reset(token)
            del connection._commit  # type: ignore[attr-defined]  # noqa: SLF001

    def _statement(self, execute: Callable[..., Any], sql: str, params: Any, *more: Any) -> Any:
        name = name_of_statement(sql, params)
        if not name:
            return execute(sql, params, *more)
        return self.carry(name, lambda: execute(sql, params, *more), cut=_cut_database)


class Watched:
    """A port whose calls go over the wire of the calling thread, if it has one."""

    def __init__(self, inner: Any, *, cut: Cut) -> None:
        self._inner = inner
        self._cut = cut

    def __getattr__(self, name: str) -> Any:
        attribute, wire = getattr(self._inner, name), _wire.get()
        if wire is None or name in {"close", "within"} or not callable(attribute):
            return attribute
        return lambda *args, **kwargs: wire.carry(name, lambda: attribute(*args, **kwargs), cut=self._cut)


class WatchedContainers:
    """What ``settings.RTM_CONTAINERS`` names: the engine that the grid has chosen, watched."""

    make: ClassVar[Callable[[], Any]]

    @classmethod
    def from_settings(cls) -> Watched:
        """See Containers."""
        return Watched(cls.make(), cut=_cut_docker)


def watched_streams(inner: Any) -> Any:
    """A streams port, watched."""
    return Watched(inner, cut=_cut_redis)


def _cut_docker() -> NoReturn:
    message = "Docker did not answer in time (the grid cut it off)"
    raise ContainersUnavailableError(message)


def _cut_redis() -> NoReturn:
    message = "Redis did not answer in time (the grid cut it off)"
    raise StreamsUnavailableError(message)


def _cut_database() -> NoReturn:
    # The connection is gone as well, so that nothing of an open transaction can be saved.
    if connection.connection is not None:
        connection.connection.close()
    message = "the server closed the connection unexpectedly (the grid cut it off)"
    raise OperationalError(message)


def _kill(cut: Cut) -> None:
    del cut
    os.kill(os.getpid(), signal.SIGKILL)


def _cut_off(cut: Cut) -> None:
    cut()


class Rival:
    """A second worker, with a thread and a database connection of its own, that comes in at one moment."""

    def __init__(self, deed: Callable[[], None], *, pauses_at: str = "") -> None:
        self._deed = deed
        self._pauses_at = pauses_at
        self._paused, self._released = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="rival")

    def comes(self, cut: Cut) -> None:
        """Let it work until it has ended, has paused, or waits for a lock of whoever called."""
        del cut
        self._thread.start()
        wait_for(self._is_quiet, what="the rival to end, to pause or to wait")

    def goes_on(self) -> None:
        """Let it end what it has paused in."""
        self._released.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=30)
        assert not self._thread.is_alive(), "the rival hangs"
        assert self._failure is None, f"the rival failed: {self._failure!r}"

    def _run(self) -> None:
        wire = Wire(at=self._pauses_at, after=self._pause)
        try:
            with wire.watching():
                self._deed()
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
    """Whether anybody waits for a lock; asked aside, for our own connection may be in the transaction that has it."""
    if connection.connection is None or connection.connection.info.transaction_status == TRANSACTION_STATUS_IDLE:
        return False
    with psycopg2.connect(**connection.get_connection_params()) as aside, aside.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)")
        (waits,) = cursor.fetchone() or (False,)
    aside.close()
    return bool(waits)


def wire_with(fault: Fault, step: str, rival: Rival) -> Wire:
    """The wire on which this fault happens at this step."""
    match fault:
        case Fault.KILLED_BEFORE:
            return Wire(at=step, before=_kill)
        case Fault.KILLED_AFTER:
            return Wire(at=step, after=_kill)
        case Fault.TIMED_OUT:
            return Wire(at=step, before=_cut_off)
        case Fault.ANSWER_LOST:
            return Wire(at=step, after=_cut_off)
        case _:
            return Wire(at=step, before=rival.comes)

"""Endless work as small steps: what runs them keeps going through outages, says so once, and stops when asked."""

import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any, Protocol

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, connection

from runtimes.exceptions import RuntimeManagerError
from tasks.patience import LOOKS, STUCK_EXIT_CODE, Patience

log = structlog.get_logger(__name__)

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0


class Loop(Protocol):
    """Work that never ends, one step at a time."""

    name: str

    def step(self) -> float:
        """Do one pass; returns how many seconds to pause before the next. Waits for two seconds at most; one that
        takes longer than STUCK_AFTER ends the process. Any exception means: start over with fresh connections after
        a while.
        """

    def reset(self) -> None:
        """Forget what was remembered of servers; the next step begins from what they say. Never raises."""

    def close(self) -> None:
        """Hand over to whoever comes next. Never raises."""


class Runner:
    """Runs one loop in a thread until told to stop."""

    def __init__(self, loop: Loop, stopping: threading.Event) -> None:
        self.loop = loop
        self._stopping = stopping
        self._failures = 0
        self._said = False
        self._passes = 0
        self._pass_under_way: int | None = None
        self._patience = Patience()
        self._thread = threading.Thread(target=self.run, name=loop.name, daemon=True)

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread.start()

    def join(self, *, timeout_seconds: float) -> None:
        """Wait for the end of a loop that was told to stop."""
        self._thread.join(timeout_seconds)

    def is_stuck(self) -> bool:
        """Take one look at the pass under way; whether it has been the same one at too many looks in a row, or the
        thread has ended though nobody asked it to.
        """
        return self._patience.is_over(self._pass_under_way if self._thread.is_alive() else "ended")

    def stack(self) -> str:
        """Where its thread is at this moment."""
        frame = sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001 - the only way to see another thread
        return "".join(traceback.format_stack(frame)) if frame is not None else "the thread has ended"

    def run(self) -> None:
        """Step until stopped."""
        with structlog.contextvars.bound_contextvars(loop=self.loop.name):
            while not self._stopping.is_set():
                self._stopping.wait(self._guarded_step())
            self.loop.close()
            connection.close()

    def _guarded_step(self) -> float:
        self._passes += 1
        self._pass_under_way = self._passes
        try:
            return self._step_or_pause()
        finally:
            self._pass_under_way = None

    def _step_or_pause(self) -> float:
        try:
            pause = self.loop.step()
        except (DatabaseError, InterfaceError, RuntimeManagerError) as error:
            return self._pause_after(error, expected=True)
        except Exception as error:  # noqa: BLE001 - a defect in one pass must not end the loop that repairs
            return self._pause_after(error, expected=False)
        if self._failures:
            log.info("loop_recovered", failed_passes=self._failures)
        self._failures, self._said = 0, False
        return pause

    def _pause_after(self, error: Exception, *, expected: bool) -> float:
        self._failures += 1
        if not expected:
            log.error("loop_failed_unexpectedly", exc_info=error)
        elif not self._said:
            # Said once when it begins and once when it ends, however long it lasts.
            log.warning("loop_waits", reason=str(error).strip())
            self._said = True
        self.loop.reset()
        connection.close()
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 10), _LONGEST_PAUSE_SECONDS)
        return float(pause * random.uniform(0.75, 1.0))  # noqa: S311 - spreads load, guards nothing


class LoopCommand(BaseCommand):
    """A management command that runs loops until SIGTERM or SIGINT, each in a thread of its own."""

    requires_system_checks = []

    def loops(self) -> Sequence[Loop]:
        """The loops of this command."""
        raise NotImplementedError  # the one method a command must give

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002 - Django's signature
        """Run until told to stop; returns when every loop has ended or SHUTDOWN_TIMEOUT is over. Does not return
        when a loop hangs: then the process ends with exit code 70.
        """
        stopping = threading.Event()

        def stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
            stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        runners = [Runner(loop, stopping) for loop in self.loops()]
        names = [runner.loop.name for runner in runners]
        for runner in runners:
            runner.start()
        log.info("process_started", loops=names)
        watch(runners, stopping)
        deadline = time.monotonic() + settings.RTMANAGER.shutdown_timeout.total_seconds()
        for runner in runners:
            runner.join(timeout_seconds=max(0.0, deadline - time.monotonic()))
        log.info("process_stopped", loops=names)


def watch(runners: Sequence[Runner], stopping: threading.Event) -> None:
    """Return when told to stop. A loop that hangs, or has died, ends the process: its connections go with it, and
    with them the leadership, so that a standby works before the supervisor has started this one anew.
    """
    stuck_after = settings.RTMANAGER.stuck_after.total_seconds()
    while not stopping.wait(stuck_after / LOOKS if stuck_after else None):
        for runner in runners:
            if runner.is_stuck():
                log.critical("loop_stuck", loop=runner.loop.name, stack=runner.stack())
                # Not sys.exit: a thread that hangs would hold the process up.
                os._exit(STUCK_EXIT_CODE)

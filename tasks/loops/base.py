"""Runs endless loops step by step: through outages, with one log line per outage, and until asked to stop."""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, connection

from operations.installation.schema import refuse_unfit_schema
from runtimes.exceptions import RuntimeManagerError
from runtimes.process import backoff
from tasks.loops.leader_election import LeaderElection
from tasks.stall_detector import STUCK_EXIT_CODE, StallDetector, checks

log = structlog.get_logger(__name__)

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0


class Loop:
    """Work that never ends, done pass by pass. One process leads the loop and works, the others stand by."""

    name: str
    standby_seconds = 1.0
    # Whether each pass of a leader runs a query, which keeps its session alive.
    always_queries = False

    def __init__(self, leadership: LeaderElection | None = None) -> None:
        self._leadership = leadership or LeaderElection(self.name)

    def step(self) -> float:
        """Take or keep the leadership, and do one pass; return how many seconds to pause before the next.

        A step waits for at most two seconds. A step that takes longer than STUCK_AFTER ends the process. After an
        exception the runner pauses, calls ``reset`` and steps again with a new database connection.
        """
        if self._leadership.is_newly_elected():
            self.forget()
        return self.lead() if self._leadership.hold(skip_ping=self.always_queries) else self.stand_by()

    def lead(self) -> float:
        """Do one pass as the leader; return the pause."""
        raise NotImplementedError  # each loop must override this

    def stand_by(self) -> float:
        """Return the pause until the next try to lead."""
        return self.standby_seconds

    def forget(self) -> None:
        """Forget all cached state, because another process may have led since the last pass."""
        self.reset()

    def reset(self) -> None:
        """Forget cached state of servers; the next step reads it again. Never raises."""

    def close(self) -> None:
        """Release the leadership. Never raises."""
        self._leadership.release()


class LoopRunner(threading.Thread):
    """Runs one loop in a thread until the process stops."""

    def __init__(self, loop: Loop, stopping: threading.Event) -> None:
        super().__init__(name=loop.name, daemon=True)
        self.loop = loop
        self._stopping = stopping
        self._failures = 0
        self._has_warned = False
        self._current_pass: object | None = None
        self._stall_detector = StallDetector()

    def is_stuck(self) -> bool:
        """Run one check; return whether the same pass runs at too many checks in a row, or the thread has died."""
        return self._stall_detector.is_stalled(self._current_pass if self.is_alive() else "ended")

    def stack(self) -> str:
        """Return the current stack of the thread."""
        frame = sys._current_frames().get(self.ident or 0)  # noqa: SLF001 - the only way to read another thread's stack
        return "".join(traceback.format_stack(frame)) if frame is not None else "the thread has ended"

    def run(self) -> None:
        """Step until stopped."""
        with structlog.contextvars.bound_contextvars(loop=self.loop.name):
            while not self._stopping.is_set():
                self._current_pass = object()
                pause = self._step()
                self._current_pass = None
                self._stopping.wait(pause)
            self.loop.close()
            connection.close()

    def _step(self) -> float:
        try:
            pause = self.loop.step()
        except (DatabaseError, InterfaceError, RuntimeManagerError) as error:
            # One line at the start of an outage and one at its end, however long it lasts.
            if not self._has_warned:
                log.warning("loop_interrupted", reason=str(error).strip())
            self._has_warned = True
            return self._pause_after_failure()
        except Exception as error:  # a defect in one pass must not end a loop
            log.exception("loop_failed_unexpectedly", exc_info=error)
            return self._pause_after_failure()
        if self._failures:
            log.info("loop_recovered", failed_passes=self._failures)
        self._failures, self._has_warned = 0, False
        return pause

    def _pause_after_failure(self) -> float:
        self.loop.reset()
        connection.close()
        self._failures += 1
        return backoff(self._failures - 1, first=_FIRST_PAUSE_SECONDS, longest=_LONGEST_PAUSE_SECONDS)


class LoopCommand(BaseCommand):
    """A management command that runs loops until SIGTERM or SIGINT, each in a thread of its own."""

    requires_system_checks = []

    def loops(self) -> Sequence[Loop]:
        """Return the loops of this command."""
        raise NotImplementedError  # each command must override this

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002 - Django's signature
        """Run until asked to stop. Return when all loops have ended, or SHUTDOWN_TIMEOUT is over.

        If a loop hangs, the process ends with exit code 70 instead. Raises CommandError if the tables are not those of
        this version.
        """
        refuse_unfit_schema()
        stopping = threading.Event()

        def stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
            stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        runners = [LoopRunner(loop, stopping) for loop in self.loops()]
        names = [runner.loop.name for runner in runners]
        for runner in runners:
            runner.start()
        log.info("process_started", loops=names)

        watch(runners, stopping)

        deadline = time.monotonic() + settings.RTMANAGER.shutdown_timeout.total_seconds()
        for runner in runners:
            runner.join(max(0.0, deadline - time.monotonic()))
        log.info("process_stopped", loops=names)


def watch(runners: Sequence[LoopRunner], stopping: threading.Event) -> None:
    """Return when asked to stop. End the process if a loop hangs or has died.

    The end of the process closes its connections and so releases its leaderships. A standby takes over before the
    supervisor has restarted this process.
    """
    for _check in checks(stopping):
        for runner in runners:
            if runner.is_stuck():
                log.critical("loop_stuck", loop=runner.loop.name, stack=runner.stack())
                # sys.exit would wait for a thread that hangs.
                os._exit(STUCK_EXIT_CODE)

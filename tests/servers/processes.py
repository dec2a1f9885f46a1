"""One process of the service, with its output in a file: started, frozen, killed and stopped like by an operator."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.workspace import CLONE
from tests.servers.waiting import wait_for

_TAIL_LINES = 60
# When the tests are killed, what they started goes with them.
_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")

COMMANDS: Mapping[str, Sequence[str]] = {
    "web": ("manage.py", "run_web"),
    "bridge": ("manage.py", "bridge_jobs"),
    "relay": ("manage.py", "relay_events"),
    "watcher": ("manage.py", "watch_runtimes"),
    "worker": (
        *("-m", "celery", "-A", "rtmanager", "worker", "-P", "threads", "-c", "4"),
        *("-Q", "lifecycle,periodic,reads", "--without-gossip", "--without-mingle", "--without-heartbeat"),
    ),
    "scheduler": ("manage.py", "run_scheduler"),
    "loops": ("manage.py", "run_loops"),
}
SPLIT = ("web", "bridge", "relay", "watcher", "worker", "scheduler")
TOGETHER = ("web", "loops", "worker")
# What each kind says when it is up, in its own log; the loops all say the same.
_IS_UP = {
    "worker": " ready.",
}


@dataclass
class ServiceProcess:
    """A process in a group of its own, so that a signal reaches its children too."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log_file: Path
    _running: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _log_start: int = field(default=0, init=False)

    @property
    def kind(self) -> str:
        """``worker`` for ``worker-2``."""
        return self.name.partition("-")[0]

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._popen.poll()

    def start(self) -> None:
        """Start it; what former runs said stays in the log."""
        self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self._running = subprocess.Popen(
                [*_WITH_PARENT, sys.executable, *self.command],
                cwd=CLONE,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_up(self) -> None:
        """Wait for its own word that it works."""
        self.wait_for_log(_IS_UP.get(self.kind, "process_started"))

    def wait_for_log(self, text: str, *, timeout_seconds: float = 30) -> None:
        """Wait until this run has logged the text; fail with the end of the log when it ends instead."""

        def has_text() -> bool:
            said = text in self.log
            assert said or self.exit_code is None, f"{self.name} ended with {self.exit_code}:\n{self.tail()}"
            return said

        wait_for(has_text, what=f"{text!r} in the log of {self.name}", timeout_seconds=timeout_seconds)

    @property
    def log(self) -> str:
        """What this run has said."""
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def tail(self) -> str:
        """The last lines of all runs."""
        return "\n".join(self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:])

    def kill(self) -> None:
        """SIGKILL the whole group: nothing of it can say goodbye."""
        self._signal(signal.SIGKILL)
        self._popen.wait()

    def freeze(self) -> None:
        """SIGSTOP: it holds everything and does nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM to the process alone, as a supervisor does it."""
        self._popen.terminate()

    def wait(self, *, timeout_seconds: float) -> int:
        """Wait for its end; the exit code. An end that does not come in time is brought about and is a failure."""
        try:
            return self._popen.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            message = f"{self.name} was still running {timeout_seconds:g} s after it was asked to stop:\n{self.tail()}"
            raise AssertionError(message) from None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._running is not None and self._running.poll() is None

    @property
    def _popen(self) -> "subprocess.Popen[bytes]":
        assert self._running is not None, f"{self.name} was never started"
        return self._running

    def _signal(self, number: signal.Signals) -> None:
        os.killpg(self._popen.pid, number)

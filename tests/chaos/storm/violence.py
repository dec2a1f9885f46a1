"""Who kills: kill -9 and SIGSTOP by process id, at the moments the script names; the supervisor starts all again."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from xmlrpc.client import Fault

from rtmanager.local.stack import Stack
from tests.chaos.storm.script import Blow

_LOOK_SECONDS = 0.05
# What dies before it lives long enough is started again with a growing delay, and the storm would blow over.
_LEAST_BETWEEN_SECONDS = 0.4
_ALIVE_SECONDS = 60.0


@dataclass(slots=True)
class Violence:
    """Works through the blows in a thread of its own. ``progress`` says how many steps have been sent."""

    stack: Stack
    blows: Sequence[Blow]
    progress: Callable[[], int]
    stopping: threading.Event
    kills: Counter[str] = field(default_factory=Counter)
    server_kills: Counter[str] = field(default_factory=Counter)
    pauses: int = 0
    last: str = "-"
    problems: list[str] = field(default_factory=list)
    _frozen: dict[int, float] = field(default_factory=dict)

    def run(self) -> None:
        """Strike until the script or the run is over. Nothing stays frozen."""
        try:
            for blow in self.blows:
                self._wait_for(blow)
                if self.stopping.is_set():
                    return
                self._strike(blow)
                self.stopping.wait(_LEAST_BETWEEN_SECONDS)
            while self._frozen and not self.stopping.wait(_LOOK_SECONDS):
                self._thaw()
        finally:
            self._thaw(everybody=True)

    def _wait_for(self, blow: Blow) -> None:
        while self.progress() < blow.after and not self.stopping.wait(_LOOK_SECONDS):
            self._thaw()
        self._thaw()

    def _strike(self, blow: Blow) -> None:
        victim = self._find(blow.program)
        if victim is None:
            if not self.stopping.is_set():
                self.problems.append(f"{blow.program} was not started again within {_ALIVE_SECONDS:.0f} s")
            return
        if blow.pause_seconds:
            self._freeze(victim, blow)
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(victim, signal.SIGKILL)
        os.close(victim)
        (self.server_kills if blow.is_server else self.kills)[blow.program.partition("-")[0]] += 1
        self.last = f"kill -9 {blow.program}"

    def _freeze(self, victim: int, blow: Blow) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(victim, signal.SIGSTOP)
        self._frozen[victim] = time.monotonic() + blow.pause_seconds
        self.pauses += 1
        self.last = f"SIGSTOP {blow.program}, {blow.pause_seconds:.0f} s"

    def _thaw(self, *, everybody: bool = False) -> None:
        for victim, until in list(self._frozen.items()):
            if everybody or time.monotonic() >= until:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(victim, signal.SIGCONT)
                os.close(victim)
                del self._frozen[victim]

    def _find(self, program: str) -> int | None:
        """A handle on the living process, which never means another one; None when it does not come up."""
        deadline = time.monotonic() + _ALIVE_SECONDS
        while time.monotonic() < deadline and not self.stopping.is_set():
            with suppress(OSError, HTTPException, Fault):
                pids = {state["name"]: state["pid"] for state in self.stack.processes()}
                if pids.get(program):
                    return os.pidfd_open(pids[program])
            self.stopping.wait(_LOOK_SECONDS)
            self._thaw()
        return None

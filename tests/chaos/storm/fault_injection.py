"""Injects faults: kill -9 and SIGSTOP at the steps of the script. The supervisor restarts killed processes."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from xmlrpc.client import Fault as XmlRpcFault

from deploy.local.stack import Stack
from tests.chaos.storm.script import Fault

_POLL_SECONDS = 0.05
# The supervisor restarts a process that exits too soon with a growing delay, which would slow down the storm.
_LEAST_BETWEEN_SECONDS = 0.4
_ALIVE_SECONDS = 60.0


@dataclass(slots=True)
class FaultInjector:
    """Injects the faults of the script in its own thread. ``progress`` returns the number of sent steps."""

    stack: Stack
    faults: Sequence[Fault]
    progress: Callable[[], int]
    stopping: threading.Event
    kills: Counter[str] = field(default_factory=Counter)
    server_kills: Counter[str] = field(default_factory=Counter)
    pauses: int = 0
    last: str = "-"
    problems: list[str] = field(default_factory=list)
    _frozen: dict[int, float] = field(default_factory=dict)

    def run(self) -> None:
        """Inject faults until the script or the run ends. No process stays frozen."""
        try:
            for fault in self.faults:
                self._wait_for(fault)
                if self.stopping.is_set():
                    return
                self._inject(fault)
                self.stopping.wait(_LEAST_BETWEEN_SECONDS)
            while self._frozen and not self.stopping.wait(_POLL_SECONDS):
                self._thaw()
        finally:
            self._thaw(everyone=True)

    def _wait_for(self, fault: Fault) -> None:
        while self.progress() < fault.after and not self.stopping.wait(_POLL_SECONDS):
            self._thaw()
        self._thaw()

    def _inject(self, fault: Fault) -> None:
        victim = self._find(fault.program)
        if victim is None:
            if not self.stopping.is_set():
                self.problems.append(f"{fault.program} was not started again within {_ALIVE_SECONDS:.0f} s")
            return
        if fault.pause_seconds:
            self._freeze(victim, fault)
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(victim, signal.SIGKILL)
        os.close(victim)
        (self.server_kills if fault.is_server else self.kills)[fault.program.partition("-")[0]] += 1
        self.last = f"kill -9 {fault.program}"

    def _freeze(self, victim: int, fault: Fault) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(victim, signal.SIGSTOP)
        self._frozen[victim] = time.monotonic() + fault.pause_seconds
        self.pauses += 1
        self.last = f"SIGSTOP {fault.program}, {fault.pause_seconds:.0f} s"

    def _thaw(self, *, everyone: bool = False) -> None:
        for victim, until in list(self._frozen.items()):
            if everyone or time.monotonic() >= until:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(victim, signal.SIGCONT)
                os.close(victim)
                del self._frozen[victim]

    def _find(self, program: str) -> int | None:
        """Return a handle of the running process, which never refers to another one; None if it does not start."""
        deadline = time.monotonic() + _ALIVE_SECONDS
        while time.monotonic() < deadline and not self.stopping.is_set():
            with suppress(OSError, HTTPException, XmlRpcFault):
                pids = {state["name"]: state["pid"] for state in self.stack.processes()}
                if pids.get(program):
                    return os.pidfd_open(pids[program])
            self.stopping.wait(_POLL_SECONDS)
            self._thaw()
        return None

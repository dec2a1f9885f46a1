"""The process supervisor (supervisord): its configuration, its life, and the proof that nothing outlives it."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from xmlrpc.client import ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from rtmanager.local.commands import is_root, tail, wait_until
from rtmanager.local.errors import LocalError
from rtmanager.local.places import Place, write_private

# Every process of a stack carries this variable: however its parent died, it can be found again.
MARKER = "RTM_LOCAL_STACK"
_START_SECONDS = 15.0
_KILL_SECONDS = 10.0
# The supervisor waits one second longer after each failed start; so many tries last for days.
_START_RETRIES = 1000
_STAYS_UP_SECONDS = 2
_LOG_BYTES = "5MB"

Group = Literal["servers", "service"]
_PRIORITY: Mapping[Group, int] = {"servers": 10, "service": 100}


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised process. The groups start in order, stop in reverse; inside a group all stop at once."""

    name: str
    command: tuple[str, ...]
    group: Group
    stop_signal: str = "TERM"
    stop_wait_seconds: int = 20
    user: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def configuration(place: Place, programs: Sequence[Program], *, directory: Path) -> str:
    """The text of supervisord's file. Servers start with it, the service when told to."""
    sections = [_daemon_section(place)]
    sections += [_program_section(program, place, directory=directory) for program in programs]
    sections += [
        _section(
            f"group:{group}",
            {"programs": ",".join(program.name for program in programs if program.group == group), "priority": number},
        )
        for group, number in _PRIORITY.items()
        if any(program.group == group for program in programs)
    ]
    return "\n".join(sections)


def _daemon_section(place: Place) -> str:
    main = {
        "nodaemon": "true",
        "silent": "true",
        "logfile": place.log("supervisord"),
        "logfile_maxbytes": _LOG_BYTES,
        "logfile_backups": 1,
        "pidfile": place.home / "supervisord.pid",
        "childlogdir": place.logs,
        "identifier": place.identity,
    }
    if is_root():
        main["user"] = "root"
    factory = "supervisor.rpcinterface:make_main_rpcinterface"
    return "\n".join(
        [
            _section("supervisord", main),
            _section("unix_http_server", {"file": _control_socket(place), "chmod": "0700"}),
            _section("rpcinterface:supervisor", {"supervisor.rpcinterface_factory": factory}),
            _section("supervisorctl", {"serverurl": f"unix://{_control_socket(place)}"}),
        ]
    )


def _program_section(program: Program, place: Place, *, directory: Path) -> str:
    settings = {
        "command": shlex.join(program.command),
        # A server's unprivileged user may not be able to enter the clone.
        "directory": directory if program.group == "service" else "/",
        "autostart": str(program.group == "servers").lower(),
        "autorestart": "true",
        "startsecs": _STAYS_UP_SECONDS,
        "startretries": _START_RETRIES,
        "stopsignal": program.stop_signal,
        "stopwaitsecs": program.stop_wait_seconds,
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": place.log(program.name),
        "stdout_logfile_maxbytes": _LOG_BYTES,
        "stdout_logfile_backups": 1,
    }
    if program.user:
        settings["user"] = program.user
    if program.environment:
        settings["environment"] = ",".join(f'{name}="{value}"' for name, value in program.environment.items())
    return _section(f"program:{program.name}", settings)


def _section(name: str, settings: Mapping[str, object]) -> str:
    # The supervisor expands %(name)s in values; a percent sign of ours is written twice.
    lines = [f"{key} = {str(value).replace('%', '%%')}" for key, value in settings.items()]
    return "\n".join([f"[{name}]", *lines, ""])


class Supervisor:
    """One supervisord of one place, a child of this process but not of its terminal."""

    def __init__(self, place: Place, programs: Sequence[Program], *, directory: Path) -> None:
        self._place = place
        self._programs = tuple(programs)
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it with the servers. Raises LocalError with its own words when it will not run."""
        file = self._place.home / "supervisord.conf"
        write_private(file, configuration(self._place, self._programs, directory=self._directory))
        output = self._place.log("supervisord-output")
        with output.open("w") as handle:
            self._process = subprocess.Popen(  # noqa: S603 (our own words)
                [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "--configuration", str(file)],
                stdin=subprocess.DEVNULL, stdout=handle, stderr=subprocess.STDOUT, cwd=self._directory,
                env={**environment, MARKER: self._place.identity},
                # Ctrl-C in the terminal is ours to handle: it must not hit the servers before the service.
                start_new_session=True,
            )  # fmt: skip
        wait_until(lambda: not self.is_running or self._answers(), timeout_seconds=_START_SECONDS)
        if not self._answers():
            message = f"the process supervisor did not come up:\n{tail(output)}"
            raise LocalError(message)

    def start_service(self) -> None:
        """Start the processes of the service; returns at once."""
        self._rpc().startProcessGroup("service", False)  # noqa: FBT003 (the supervisor's interface is positional)

    def states(self) -> list[dict[str, Any]]:
        """What the supervisor says of each program: ``name``, ``statename``, ``pid`` and more."""
        states: list[dict[str, Any]] = self._rpc().getAllProcessInfo()
        return states

    @property
    def is_running(self) -> bool:
        """Whether it was started and lives."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End the service, then the servers, then itself. Idempotent; nothing of the place runs afterwards."""
        if self._process is not None and self.is_running:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=self._patience_seconds)
        end_leftovers(self._place)

    @property
    def _patience_seconds(self) -> float:
        waits = {group: [p.stop_wait_seconds for p in self._programs if p.group == group] for group in _PRIORITY}
        return sum(max(seconds, default=0) for seconds in waits.values()) + 2 * _KILL_SECONDS

    def _answers(self) -> bool:
        if not self.is_running:
            return False
        with suppress(OSError):
            return bool(self._rpc().getState())
        return False

    def _rpc(self) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{_control_socket(self._place)}")
        return ServerProxy("http://127.0.0.1", transport=transport).supervisor


def _control_socket(place: Place) -> Path:
    return place.sockets / "supervisor.sock"


def leftovers(place: Place) -> dict[int, str]:
    """Processes of this place that run now, and what they started: process id to command line."""
    marker = f"{MARKER}={place.identity}".encode()
    processes = {int(entry.name): entry for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    parents = {pid: _parent(entry) for pid, entry in processes.items()}
    ours = {pid for pid, entry in processes.items() if marker in _read(entry / "environ").split(b"\0")} - {os.getpid()}
    # A game's process has an environment of its own, but it hangs below the engine's.
    while found := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= found
    return {pid: _command_line(processes[pid]) for pid in ours}


def _parent(process: Path) -> int:
    # The command's name, in parentheses, may itself hold spaces and parentheses.
    fields = _read(process / "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields and fields[0] != b"Z" else 0


def _command_line(process: Path) -> str:
    return _read(process / "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def _read(file: Path) -> bytes:
    """Empty when the process is gone, or is none of ours to look into."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def end_leftovers(place: Place, *, patience_seconds: float = 60.0) -> None:
    """End whatever still runs: politely the supervisor first, then each, then by force.

    Raises LocalError when even that did not help. Idempotent.
    """
    supervisors = [pid for pid, command in leftovers(place).items() if "supervisor.supervisord" in command]
    if supervisors:
        _signal_and_wait(place, signal.SIGTERM, only=supervisors, timeout_seconds=patience_seconds)
    _signal_and_wait(place, signal.SIGTERM, timeout_seconds=_KILL_SECONDS)
    _signal_and_wait(place, signal.SIGKILL, timeout_seconds=_KILL_SECONDS)
    remaining = leftovers(place)
    if remaining:
        listed = "\n".join(f"    {pid} {command}" for pid, command in remaining.items())
        message = f"these processes of the stack could not be ended:\n{listed}"
        raise LocalError(message)


def _signal_and_wait(
    place: Place, number: signal.Signals, *, timeout_seconds: float, only: Sequence[int] | None = None
) -> None:
    targets = leftovers(place)
    if not targets:
        return
    for pid in targets if only is None else only:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    wait_until(lambda: not leftovers(place), timeout_seconds=timeout_seconds)

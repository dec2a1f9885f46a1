"""The process supervisor (supervisord): its configuration and its life."""

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xmlrpc.client import ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from rtmanager.local.commands import is_root, tail, wait_until
from rtmanager.local.errors import LocalError
from rtmanager.local.leftovers import MARKER, end_leftovers
from rtmanager.local.places import Place, write_private

_START_SECONDS = 15.0
_KILL_SECONDS = 10.0
# The supervisor waits one second longer after each failed start; so many tries last for days.
_START_RETRIES = 1000
_STAYS_UP_SECONDS = 2
_LOG_BYTES = "5MB"

Group = Literal["base", "servers", "service"]
_PRIORITY: Mapping[Group, int] = {"base": 5, "servers": 10, "service": 100}


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised process. The groups start in order, stop in reverse; inside a group all stop at once."""

    name: str
    command: tuple[str, ...]
    group: Group
    stop_signal: str = "TERM"
    stop_wait_seconds: int = 20
    user: str = ""


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
        "autostart": str(program.group != "service").lower(),
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

    def stop_service(self) -> None:
        """End the processes of the service, keep the servers. Idempotent."""
        if self.is_running:
            self._rpc().stopProcessGroup("service")

    def switch(self, name: str, *, on: bool) -> None:
        """Start or end one process of the service, and wait until it lives or is gone. Idempotent."""
        is_on = any(state["name"] == name and state["statename"] == "RUNNING" for state in self.states())
        if is_on != on:
            (self._rpc().startProcess if on else self._rpc().stopProcess)(f"service:{name}")

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

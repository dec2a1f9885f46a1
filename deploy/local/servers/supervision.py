"""The process supervisor (supervisord): writes its configuration, starts and stops it."""

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from xmlrpc.client import ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from deploy.local.system.errors import LocalError
from deploy.local.system.process_cleanup import MARKER, end_leftovers
from deploy.local.system.shell import is_root, tail, wait_until
from deploy.local.workspace import Workspace, write_private

_START_SECONDS = 15.0
_KILL_SECONDS = 10.0
# The supervisor waits one second longer after each failed start: 1000 attempts last for days.
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
    environment: Mapping[str, str] = field(default_factory=dict)


def configuration(workspace: Workspace, programs: Sequence[Program], *, directory: Path) -> str:
    """Return the file of supervisord. Servers start with supervisord; the service starts on request."""
    sections = [_daemon_section(workspace)]
    sections += [_program_section(program, workspace, directory=directory) for program in programs]
    sections += [
        _section(
            f"group:{group}",
            {"programs": ",".join(program.name for program in programs if program.group == group), "priority": number},
        )
        for group, number in _PRIORITY.items()
        if any(program.group == group for program in programs)
    ]
    return "\n".join(sections)


def _daemon_section(workspace: Workspace) -> str:
    main = {
        "nodaemon": "true",
        "silent": "true",
        "logfile": workspace.log("supervisord"),
        "logfile_maxbytes": _LOG_BYTES,
        "logfile_backups": 1,
        "pidfile": workspace.home / "supervisord.pid",
        "childlogdir": workspace.logs,
        "identifier": workspace.identity,
    }
    if is_root():
        main["user"] = "root"
    factory = "supervisor.rpcinterface:make_main_rpcinterface"
    return "\n".join(
        [
            _section("supervisord", main),
            _section("unix_http_server", {"file": _control_socket(workspace), "chmod": "0700"}),
            _section("rpcinterface:supervisor", {"supervisor.rpcinterface_factory": factory}),
            _section("supervisorctl", {"serverurl": f"unix://{_control_socket(workspace)}"}),
        ]
    )


def _program_section(program: Program, workspace: Workspace, *, directory: Path) -> str:
    settings = {
        "command": shlex.join(program.command),
        # The unprivileged user of a server may have no access to the clone.
        "directory": directory if program.group == "service" else "/",
        "autostart": str(program.group != "service").lower(),
        "autorestart": "true",
        "startsecs": _STAYS_UP_SECONDS,
        "startretries": _START_RETRIES,
        "stopsignal": program.stop_signal,
        "stopwaitsecs": program.stop_wait_seconds,
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": workspace.log(program.name),
        "stdout_logfile_maxbytes": _LOG_BYTES,
        "stdout_logfile_backups": 1,
    }
    if program.user:
        settings["user"] = program.user
    if program.environment:
        settings["environment"] = ",".join(f'{name}="{value}"' for name, value in program.environment.items())
    return _section(f"program:{program.name}", settings)


def _section(name: str, settings: Mapping[str, object]) -> str:
    # The supervisor expands %(name)s in values, so a percent sign is written twice.
    lines = [f"{key} = {str(value).replace('%', '%%')}" for key, value in settings.items()]
    return "\n".join([f"[{name}]", *lines, ""])


class Supervisor:
    """The supervisord of one workspace: a child of this process, in a session without its terminal."""

    def __init__(self, workspace: Workspace, programs: Sequence[Program], *, directory: Path) -> None:
        self._workspace = workspace
        self._programs = tuple(programs)
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it with the servers. Raises LocalError with its output if it does not start."""
        file = self._workspace.home / "supervisord.conf"
        write_private(file, configuration(self._workspace, self._programs, directory=self._directory))
        output = self._workspace.log("supervisord-output")
        with output.open("w") as handle:
            self._process = subprocess.Popen(  # noqa: S603 (a constant command)
                [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "--configuration", str(file)],
                stdin=subprocess.DEVNULL, stdout=handle, stderr=subprocess.STDOUT, cwd=self._directory,
                env={**environment, MARKER: self._workspace.identity},
                # This process handles Ctrl-C: the terminal must not stop the servers before the service.
                start_new_session=True,
            )  # fmt: skip
        wait_until(lambda: not self.is_running or self._responds(), timeout_seconds=_START_SECONDS)
        if not self._responds():
            message = f"the process supervisor did not start:\n{tail(output)}"
            raise LocalError(message)

    def start_service(self) -> None:
        """Start the processes of the service; return at once."""
        self._rpc().startProcessGroup("service", False)  # noqa: FBT003 (the supervisor's API is positional)

    def stop_service(self) -> None:
        """Stop the processes of the service; keep the servers. Idempotent."""
        if self.is_running:
            self._rpc().stopProcessGroup("service")

    def switch(self, name: str, *, on: bool) -> None:
        """Start or stop one process of the service, and wait until it runs or has stopped. Idempotent."""
        is_on = any(state["name"] == name and state["statename"] == "RUNNING" for state in self.states())
        if is_on != on:
            (self._rpc().startProcess if on else self._rpc().stopProcess)(f"service:{name}")

    def states(self) -> list[dict[str, Any]]:
        """Return the state of each program: ``name``, ``statename``, ``pid`` and more."""
        states: list[dict[str, Any]] = self._rpc().getAllProcessInfo()
        return states

    @property
    def is_running(self) -> bool:
        """Whether it was started and runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop the service, then the servers, then supervisord. Idempotent. No process of the workspace is left."""
        if self._process is not None and self.is_running:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=self._stop_timeout_seconds)
        end_leftovers(self._workspace)

    @property
    def _stop_timeout_seconds(self) -> float:
        waits = {group: [p.stop_wait_seconds for p in self._programs if p.group == group] for group in _PRIORITY}
        return sum(max(seconds, default=0) for seconds in waits.values()) + 2 * _KILL_SECONDS

    def _responds(self) -> bool:
        if not self.is_running:
            return False
        with suppress(OSError):
            return bool(self._rpc().getState())
        return False

    def _rpc(self) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{_control_socket(self._workspace)}")
        return ServerProxy("http://127.0.0.1", transport=transport).supervisor


def _control_socket(workspace: Workspace) -> Path:
    return workspace.sockets / "supervisor.sock"

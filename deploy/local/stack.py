"""One local stack: starts the servers and the service step by step, and stops them completely."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import httpx
import psycopg2

from deploy.local import env
from deploy.local.console import Console
from deploy.local.docker import cleanup
from deploy.local.docker.containerd import Containerd
from deploy.local.docker.daemon import PrivateDocker, connect_docker, private_docker, reachable_host
from deploy.local.docker.sample_images import SAMPLE_TAGS, build_engine
from deploy.local.servers.postgres import Postgres
from deploy.local.servers.programs import gateway_programs, service_programs
from deploy.local.servers.supervision import Program, Supervisor
from deploy.local.servers.valkey import Valkey
from deploy.local.stack_options import DEFAULT, StackOptions
from deploy.local.system.errors import LocalError
from deploy.local.system.ports import PortClaim, base_url
from deploy.local.system.process_cleanup import end_leftovers
from deploy.local.system.shell import run, tail, wait_until
from deploy.local.system.signals import ignore_signals
from deploy.local.workspace import CLONE, Workspace, WorkspaceLock
from rtmanager.config import PREFIX, BadSettingsError, Config, load_config
from rtmanager.database_urls import django_database

_DATABASE_SECONDS = 60.0
_READY_SECONDS = 90.0
# STOPPED: a process that was not started yet.
_NOT_FAILED = frozenset({"RUNNING", "STOPPED"})
_LAST_LINES = 4


class Server(Protocol):
    """A server that the stack starts because the environment names none."""

    @property
    def title(self) -> str:
        """The name in the progress."""

    def prepare(self) -> Program:
        """Create its files; return the program to supervise."""

    def wait_ready(self) -> None:
        """Wait until it responds. Raises LocalError on timeout."""


class Stack:
    """The service with its servers. Use ``running`` to get one."""

    config: Config
    docker_host: str

    def __init__(self, workspace: Workspace, console: Console, *, options: StackOptions = DEFAULT) -> None:
        self.workspace = workspace
        self._console = console
        self._options = options
        self._given = {**os.environ, **{f"{PREFIX}{name}": value for name, value in options.settings.items()}}
        self._postgres = None if env.names_a_database(self._given) else Postgres(workspace)
        self._valkey = None if env.names_a_redis(self._given) else Valkey(workspace)
        self._containerd = Containerd(workspace) if options.own_docker else None
        self._docker: PrivateDocker | None = None
        self._claim: PortClaim | None = None
        self._supervisor: Supervisor | None = None

    @property
    def url(self) -> str:
        """The URL of the service."""
        return base_url(self.config.internal_http_addr)

    @property
    def docker_is_private(self) -> bool:
        """Whether the Docker daemon, and with it the games, stops with this stack."""
        return self._docker is not None

    def wipe(self) -> None:
        """Delete the data of earlier runs from the embedded servers."""
        end_leftovers(self.workspace)
        for server in (self._postgres, self._valkey, self._containerd):
            if server is not None:
                server.wipe()
        if self._options.own_docker:
            private_docker(self.workspace).wipe()

    def up(self) -> None:
        """Start the servers, then the service. Raises LocalError with the reason of a failure."""
        end_leftovers(self.workspace)
        self._find_docker()
        servers = self._servers()
        programs = [self._prepare(server) for server in servers]
        self._load_settings()
        service = service_programs(
            self.config, split=self._options.split, copies=self._options.copies, python=self._options.python
        )
        gateway = gateway_programs(self.config, python=self._options.python)
        self._start(servers, [*programs, *gateway, *service])
        self._prepare_docker()
        self._prepare_database()
        with self._console.step(f"service responds at {self.url}/readyz"):
            self._running_supervisor().start_service()
            self._wait_ready()

    def down(self) -> None:
        """Stop everything that this stack started. Idempotent. Raises LocalError if a process remains."""
        bridges = self._docker.bridges() if self._docker else []
        if self._supervisor is not None:
            self._supervisor.stop()
        end_leftovers(self.workspace)
        if self._docker:
            self._docker.clean_up(bridges)
        if self._containerd:
            self._containerd.clean_up()
        if self._claim is not None:
            self._claim.release()
        self.workspace.remove_sockets()

    def remove_games(self) -> None:
        """Remove the containers of this stack and its network. Idempotent.

        The service stops first: it would report removed containers and repair their records.
        """
        if self._supervisor is not None:
            self._supervisor.stop_service()
        with connect_docker(self.docker_host) as client:
            cleanup.remove_games(client, self.config.stack)
            cleanup.remove_networks(client, self.workspace.identity)

    def processes(self) -> list[dict[str, Any]]:
        """What the supervisor says of each process."""
        return self._running_supervisor().states()

    def switch(self, name: str, *, on: bool) -> None:
        """Start or end one process of the service. Idempotent."""
        self._running_supervisor().switch(name, on=on)

    @property
    def is_supervised(self) -> bool:
        """Whether the supervisor lives."""
        return self._supervisor is not None and self._supervisor.is_running

    def _find_docker(self) -> None:
        with self._console.step("Docker daemon") as step:
            host = None if self._options.own_docker else reachable_host(self._given)
            if host is None:
                self._docker = private_docker(
                    self.workspace, containerd=self._containerd, live_restore=self._options.live_restore
                )
                step.outcome = "a private one will be started"
            self.docker_host = host or private_docker(self.workspace).host
            step.outcome = f"uses {host}" if host else step.outcome

    def _prepare(self, server: Server) -> Program:
        with self._console.step(f"{server.title} prepared"):
            return server.prepare()

    def _servers(self) -> list[Server]:
        known = (self._containerd, self._docker, self._postgres, self._valkey)
        return [server for server in known if server is not None]

    def _load_settings(self) -> None:
        if not env.names_an_address(self._given):
            self._claim = PortClaim(self.workspace.home / "http_port")
        servers = env.Servers(
            docker_host=self.docker_host,
            database_url=self._postgres.url if self._postgres else None,
            redis_url=self._valkey.url if self._valkey else None,
            http_addr=self._claim.address if self._claim else None,
        )
        os.environ.update(env.complete(self._given, servers, workspace=self.workspace, secret=self.workspace.secret))
        try:
            self.config = load_config()
        except BadSettingsError as error:
            message = f"the service cannot start with these settings:\n{error}"
            raise LocalError(message) from None

    def _start(self, servers: list[Server], programs: list[Program]) -> None:
        self._supervisor = Supervisor(self.workspace, programs, directory=CLONE)
        self._supervisor.start(os.environ)
        for server in servers:
            with self._console.step(f"{server.title} responds"):
                server.wait_ready()

    def _prepare_docker(self) -> None:
        with connect_docker(self.docker_host, timeout_seconds=300) as client:
            self.workspace.remember_docker_host("" if self._docker else self.docker_host, stack=self.config.stack)
            cleanup.ensure_network(client, self.config.docker_network, identity=self.workspace.identity)
            for tag in SAMPLE_TAGS:
                with self._console.step(f"sample engine image {tag}"):
                    build_engine(client, tag)

    def _prepare_database(self) -> None:
        with self._console.step("database migrated, admin user created"):
            if not wait_until(self._database_responds, timeout_seconds=_DATABASE_SECONDS, interval_seconds=0.5):
                message = f"PostgreSQL did not respond within {_DATABASE_SECONDS:.0f} s; see RTMANAGER_DATABASE_URL"
                raise LocalError(message)
            log = self.workspace.log("migrate")
            run([self._options.python, "manage.py", "migrate", "--no-input"], log=log, cwd=CLONE)
            run([self._options.python, "manage.py", "ensure_admin"], log=log, cwd=CLONE)

    def _database_responds(self) -> bool:
        try:
            _connect(self.config.database_url).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _wait_ready(self) -> None:
        body = ""

        def is_ready() -> bool:
            nonlocal body
            with suppress(httpx.HTTPError):
                response = httpx.get(f"{self.url}/readyz", timeout=5.0, trust_env=False)
                body = response.text
                return response.is_success and all(state["statename"] == "RUNNING" for state in self.processes())
            return False

        if not wait_until(is_ready, timeout_seconds=_READY_SECONDS, interval_seconds=0.3):
            message = f"the service was not ready after {_READY_SECONDS:.0f} s; last response: {body or 'none'}"
            raise LocalError(message)

    def failed_processes(self) -> list[str]:
        """Return each process that does not run as expected, with its last log lines."""
        states = self.processes() if self.is_supervised else []
        return [
            f"{state['name']} is {state['statename']}:\n{tail(self.workspace.log(state['name']), lines=_LAST_LINES)}"
            for state in states
            if state["statename"] not in _NOT_FAILED
        ]

    def _running_supervisor(self) -> Supervisor:
        if self._supervisor is None:
            message = "the stack is not up"
            raise LocalError(message)
        return self._supervisor


def _connect(database_url: str) -> "psycopg2.extensions.connection":
    """Connect to the database with the options of the service."""
    entry = django_database(database_url)
    named = {"dbname": entry["NAME"], "user": entry["USER"], "password": entry["PASSWORD"]}
    named |= {"host": entry["HOST"], "port": entry["PORT"]}
    given = {key: value for key, value in named.items() if value}
    connection: psycopg2.extensions.connection = psycopg2.connect(**given, **entry["OPTIONS"])
    return connection


@contextmanager
def running(
    workspace: Workspace, console: Console, *, fresh: bool = False, options: StackOptions = DEFAULT
) -> Iterator[Stack]:
    """Yield a running stack; stop it completely after the block, also after an error.

    ``fresh``: delete the data of its embedded servers first, and remove its games and network at the end.
    """
    lock = WorkspaceLock(workspace)
    lock.acquire()
    stack = Stack(workspace, console, options=options)
    try:
        if fresh:
            stack.wipe()
        stack.up()
        yield stack
    except LocalError as error:
        raise LocalError("\n".join([str(error), *stack.failed_processes()])) from None
    finally:
        with ignore_signals(), console.step("everything stopped"):
            try:
                if fresh and hasattr(stack, "config"):
                    stack.remove_games()
            finally:
                stack.down()

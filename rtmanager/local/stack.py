"""One whole local stack: brought up step by step, taken down completely."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import httpx
import psycopg2

from rtmanager.config import PREFIX, BadSettingsError, Config, load_config
from rtmanager.databases import django_database
from rtmanager.local import environment, networks
from rtmanager.local.addresses import PortClaim, base_url
from rtmanager.local.commands import run, tail, wait_until
from rtmanager.local.console import Console
from rtmanager.local.containerd import Containerd
from rtmanager.local.dockerd import PrivateEngine, client, private_engine, reachable_host
from rtmanager.local.errors import LocalError
from rtmanager.local.images import SAMPLE_TAGS, build_engine
from rtmanager.local.interrupts import deaf
from rtmanager.local.leftovers import end_leftovers
from rtmanager.local.places import CLONE, Place, PlaceLock
from rtmanager.local.postgres import Postgres
from rtmanager.local.programs import service_programs
from rtmanager.local.shapes import USUAL, Shape
from rtmanager.local.supervision import Program, Supervisor
from rtmanager.local.valkey import Valkey

_DATABASE_SECONDS = 60.0
_READY_SECONDS = 90.0
# Stopped are those whose turn to be started had not come.
_WELL = frozenset({"RUNNING", "STOPPED"})
_LAST_LINES = 4


class Server(Protocol):
    """A server we start ourselves because none was given."""

    @property
    def title(self) -> str:
        """What it is called in the progress."""

    def prepare(self) -> Program:
        """Make what it needs on disk; returns what to supervise."""

    def wait_ready(self) -> None:
        """Return when it serves; LocalError when it does not in time."""


class Stack:
    """The service with everything it needs; get one from ``running``."""

    config: Config
    docker_host: str

    def __init__(self, place: Place, console: Console, *, shape: Shape = USUAL) -> None:
        self.place = place
        self._console = console
        self._shape = shape
        self._given = {**os.environ, **{f"{PREFIX}{name}": value for name, value in shape.settings.items()}}
        self._postgres = None if environment.names_a_database(self._given) else Postgres(place)
        self._valkey = None if environment.names_a_redis(self._given) else Valkey(place)
        self._containerd = Containerd(place) if shape.own_engine else None
        self._engine: PrivateEngine | None = None
        self._claim: PortClaim | None = None
        self._supervisor: Supervisor | None = None

    @property
    def url(self) -> str:
        """Where the service answers."""
        return base_url(self.config.internal_http_addr)

    @property
    def engine_is_private(self) -> bool:
        """Whether the games end with this stack, because their engine does."""
        return self._engine is not None

    def forget(self) -> None:
        """Start from nothing: what embedded servers and games remember of earlier runs is deleted."""
        end_leftovers(self.place)
        for server in (self._postgres, self._valkey, self._containerd):
            if server is not None:
                server.forget()
        if self._shape.own_engine:
            private_engine(self.place).forget()

    def up(self) -> None:
        """Bring up servers, then the service. Raises LocalError saying which step failed and why."""
        end_leftovers(self.place)
        self._find_engine()
        servers = self._servers()
        programs = [self._prepare(server) for server in servers]
        self._settle_environment()
        service = service_programs(
            self.config, split=self._shape.split, copies=self._shape.copies, python=self._shape.python
        )
        self._start(servers, [*programs, *service])
        self._prepare_engine()
        self._prepare_database()
        with self._console.step(f"service answers at {self.url}/readyz"):
            self._supervise().start_service()
            self._wait_ready()

    def down(self) -> None:
        """End everything this stack started. Idempotent; raises LocalError when something survived."""
        bridges = self._engine.bridges() if self._engine else []
        if self._supervisor is not None:
            self._supervisor.stop()
        end_leftovers(self.place)
        if self._engine:
            self._engine.tidy(bridges)
        if self._containerd:
            self._containerd.tidy()
        if self._claim is not None:
            self._claim.release()

    def remove_games(self) -> None:
        """Remove the containers of this stack and its network. Idempotent.

        The service ends first: it would take a container that vanishes for an incident, and deal with it.
        """
        if self._supervisor is not None:
            self._supervisor.stop_service()
        with client(self.docker_host) as engine:
            networks.remove_games(engine, self.config.stack)
            networks.remove_networks(engine, self.place.identity)

    def processes(self) -> list[dict[str, Any]]:
        """What the supervisor says of each process."""
        return self._supervise().states()

    def switch(self, name: str, *, on: bool) -> None:
        """Start or end one process of the service. Idempotent."""
        self._supervise().switch(name, on=on)

    @property
    def is_supervised(self) -> bool:
        """Whether the supervisor lives."""
        return self._supervisor is not None and self._supervisor.is_running

    def _find_engine(self) -> None:
        with self._console.step("Docker engine") as step:
            host = None if self._shape.own_engine else reachable_host(self._given)
            if host is None:
                self._engine = private_engine(
                    self.place, containerd=self._containerd, live_restore=self._shape.live_restore
                )
                step.outcome = "a private one will be started"
            self.docker_host = host or private_engine(self.place).host
            step.outcome = f"uses {host}" if host else step.outcome

    def _prepare(self, server: Server) -> Program:
        with self._console.step(f"{server.title} prepared"):
            return server.prepare()

    def _servers(self) -> list[Server]:
        known = (self._containerd, self._engine, self._postgres, self._valkey)
        return [server for server in known if server is not None]

    def _settle_environment(self) -> None:
        if not environment.names_an_address(self._given):
            self._claim = PortClaim(self.place.home / "http_port")
        servers = environment.Servers(
            docker_host=self.docker_host,
            database_url=self._postgres.url if self._postgres else None,
            redis_url=self._valkey.url if self._valkey else None,
            http_addr=self._claim.address if self._claim else None,
        )
        os.environ.update(environment.complete(self._given, servers, place=self.place, secret=self.place.secret))
        try:
            self.config = load_config()
        except BadSettingsError as error:
            message = f"the service cannot start with these settings:\n{error}"
            raise LocalError(message) from None

    def _start(self, servers: list[Server], programs: list[Program]) -> None:
        self._supervisor = Supervisor(self.place, programs, directory=CLONE)
        self._supervisor.start(os.environ)
        for server in servers:
            with self._console.step(f"{server.title} answers"):
                server.wait_ready()

    def _prepare_engine(self) -> None:
        with client(self.docker_host, timeout_seconds=300) as engine:
            self.place.remember_engine("" if self._engine else self.docker_host, stack=self.config.stack)
            networks.ensure_network(engine, self.config.docker_network, identity=self.place.identity)
            for tag in SAMPLE_TAGS:
                with self._console.step(f"sample engine image {tag}"):
                    build_engine(engine, tag)

    def _prepare_database(self) -> None:
        with self._console.step("database migrated, admin user made"):
            if not wait_until(self._database_answers, timeout_seconds=_DATABASE_SECONDS, interval_seconds=0.5):
                message = f"PostgreSQL did not answer within {_DATABASE_SECONDS:.0f} s; see RTMANAGER_DATABASE_URL"
                raise LocalError(message)
            log = self.place.log("migrate")
            run([self._shape.python, "manage.py", "migrate", "--no-input"], log=log, cwd=CLONE)
            run([self._shape.python, "manage.py", "ensure_admin"], log=log, cwd=CLONE)

    def _database_answers(self) -> bool:
        try:
            _connect(self.config.database_url).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _wait_ready(self) -> None:
        answer = ""

        def is_ready() -> bool:
            nonlocal answer
            with suppress(httpx.HTTPError):
                response = httpx.get(f"{self.url}/readyz", timeout=5.0)
                answer = response.text
                return response.is_success and all(state["statename"] == "RUNNING" for state in self.processes())
            return False

        if not wait_until(is_ready, timeout_seconds=_READY_SECONDS, interval_seconds=0.3):
            message = f"the service was not ready after {_READY_SECONDS:.0f} s; last answer: {answer or 'none'}"
            raise LocalError(message)

    def ailing(self) -> list[str]:
        """Each process that was started and does not run, with the last it said."""
        states = self.processes() if self.is_supervised else []
        return [
            f"{state['name']} is {state['statename']}:\n{tail(self.place.log(state['name']), lines=_LAST_LINES)}"
            for state in states
            if state["statename"] not in _WELL
        ]

    def _supervise(self) -> Supervisor:
        if self._supervisor is None:
            message = "the stack is not up"
            raise LocalError(message)
        return self._supervisor


def _connect(database_url: str) -> "psycopg2.extensions.connection":
    """A connection to the service's database, made as the service makes it."""
    entry = django_database(database_url)
    named = {"dbname": entry["NAME"], "user": entry["USER"], "password": entry["PASSWORD"]}
    named |= {"host": entry["HOST"], "port": entry["PORT"]}
    given = {key: value for key, value in named.items() if value}
    connection: psycopg2.extensions.connection = psycopg2.connect(**given, **entry["OPTIONS"])
    return connection


@contextmanager
def running(place: Place, console: Console, *, fresh: bool = False, shape: Shape = USUAL) -> Iterator[Stack]:
    """A stack that is up inside the block and completely down after it, whatever happens in between.

    ``fresh`` forgets what its embedded servers know, and removes its games and network at the end.
    """
    lock = PlaceLock(place)
    lock.acquire()
    stack = Stack(place, console, shape=shape)
    try:
        if fresh:
            stack.forget()
        stack.up()
        yield stack
    except LocalError as error:
        raise LocalError("\n".join([str(error), *stack.ailing()])) from None
    finally:
        with deaf(), console.step("everything stopped"):
            try:
                if fresh and hasattr(stack, "config"):
                    stack.remove_games()
            finally:
                stack.down()

"""The whole service as real processes on real servers, and what its neighbours see of it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, cast

import httpx

from deploy.local.workspace import CLONE
from tests.servers.databases import PostgresServer, RedisServer, free_port
from tests.servers.processes import COMMANDS, SPLIT, ServiceProcess
from tests.servers.sandbox import Playground
from tests.servers.waiting import wait_for

SHUTDOWN_SECONDS = 10
_NOW_MS = "1800000000000"

START_JOBS = "runtime:start_jobs"
STOP_JOBS = "runtime:stop_jobs"
RESULTS = "runtime:job_results"
DEAD_LETTERS = "runtime:dead_letters"
HEALTH_EVENTS = "runtime:health_events"
INTENTS = "notification:intents"


@dataclass(frozen=True, slots=True)
class JobResult:
    """One entry of ``runtime:job_results``."""

    game_id: str
    outcome: str
    container_id: str
    engine_endpoint: str
    error_code: str
    error_message: str

    @classmethod
    def read(cls, entry: Mapping[str, str]) -> Self:
        """Exactly the six fields of the contract: no more, no fewer."""
        assert set(entry) == {field.name for field in fields(cls)}
        return cls(**entry)


@dataclass(frozen=True, slots=True)
class Servers:
    """What one service runs on. ``database`` is migrated; the two logical databases of Redis are empty."""

    postgres: PostgresServer
    redis: RedisServer
    database: str
    redis_database: int


class Service:
    """The processes of one installation with its own settings; by default each loop runs in its own process."""

    def __init__(
        self,
        servers: Servers,
        playground: Playground,
        *,
        log_folder: Path,
        kinds: Sequence[str] = SPLIT,
        release: str = "",
        **settings: str,
    ) -> None:
        """``release``: the Django settings of another release (``tests.servers.releases``)."""
        self.servers = servers
        self.playground = playground
        self.settings = {**_settings(servers, playground), **settings}
        self.client = httpx.Client(base_url=f"http://{self.settings['INTERNAL_HTTP_ADDR']}", timeout=60)
        self.streams = servers.redis.client(servers.redis_database)
        self._log_folder = log_folder
        self._release = {"DJANGO_SETTINGS_MODULE": release} if release else {}
        self.processes: dict[str, ServiceProcess] = {}
        for name in kinds:
            self._add(name)

    def start(self, *, ready: int = 200) -> dict[str, str]:
        """Start all processes and wait until each says that it is up and ``/readyz`` answers as expected.

        Returns what the service is missing.
        """
        for process in self.processes.values():
            process.start()
        for process in self.processes.values():
            process.wait_until_up()
        return self.wait_until_ready(ready)

    def wait_until_ready(self, status: int = 200) -> dict[str, str]:
        """Wait until ``/readyz`` answers with this status; the dependencies that are not ``ok`` and why."""
        seen: list[httpx.Response] = []

        def is_ready() -> bool:
            try:
                seen.append(self.client.get("/readyz"))
            except httpx.TransportError:
                return False
            return seen[-1].status_code == status

        wait_for(is_ready, what=f"/readyz to return {status}")
        return {name: reason for name, reason in seen[-1].json()["checks"].items() if reason != "ok"}

    def add_worker(self) -> ServiceProcess:
        """Start one more worker; returns it when it is up."""
        process = self._add(f"worker-{len(self.processes)}")
        process.start()
        process.wait_until_up()
        return process

    def kill(self, *names: str) -> None:
        """SIGKILL some processes, or all that run."""
        for name in names or [name for name, one in self.processes.items() if one.is_running]:
            self.processes[name].kill()

    def restart(self, name: str) -> None:
        """Start a process that has ended, as its supervisor would, and wait until it is up."""
        self.processes[name].start()
        self.processes[name].wait_until_up()

    def stop(self, *names: str) -> dict[str, int]:
        """SIGTERM these processes, or all, if they run; their exit codes. Fails when one outlives SHUTDOWN_TIMEOUT."""
        running = {name: one for name, one in self.processes.items() if one.is_running and name in (names or [name])}
        for process in running.values():
            process.terminate()
        return {name: one.wait(timeout_seconds=SHUTDOWN_SECONDS + 2) for name, one in running.items()}

    def close(self) -> None:
        """Kill what still runs and drop the connections."""
        for process in self.processes.values():
            if process.is_running:
                process.kill()
        self.client.close()
        self.streams.close()

    def start_job(self, game_id: str, image_ref: str) -> str:
        """Write a start job as Lobby does; the entry's id."""
        return self.add_job(START_JOBS, game_id=game_id, image_ref=image_ref, requested_at_ms=_NOW_MS)

    def stop_job(self, game_id: str, reason: str = "cancelled") -> str:
        """Write a stop job as Lobby does; the entry's id."""
        return self.add_job(STOP_JOBS, game_id=game_id, reason=reason, requested_at_ms=_NOW_MS)

    def add_job(self, stream: str, **entry: str) -> str:
        """Write any entry to a job stream.

        Returns in the next millisecond: ids order the entries of two streams by the millisecond only, and the jobs
        that Lobby sends for one game are further apart than that.
        """
        entry_id = str(self.streams.xadd(stream, cast("Any", entry)))
        written_ms = int(entry_id.partition("-")[0])
        while self._redis_clock_ms() <= written_ms:
            pass
        return entry_id

    def results(self, game_id: str, count: int = 1, *, timeout_seconds: float = 30) -> list[JobResult]:
        """Wait for at least this number of results of one game and return all there are, oldest first."""
        found = self.entries(RESULTS, game_id=game_id)
        if len(found) < count:
            found = wait_for(
                lambda: _at_least(count, self.entries(RESULTS, game_id=game_id)),
                what=f"{count} result(s) of {game_id}",
                timeout_seconds=timeout_seconds,
            )
        return [JobResult.read(entry) for entry in found]

    def result(self, game_id: str) -> JobResult:
        """Wait for the one result of a game."""
        (only,) = self.results(game_id)
        return only

    def entries(self, stream: str, *, game_id: str | None = None) -> list[dict[str, str]]:
        """What a stream holds by now, oldest first; of one game or of all."""
        read = cast("list[tuple[str, dict[str, str]]]", self.streams.xrange(stream))
        return [entry for _id, entry in read if game_id in (None, entry.get("game_id"))]

    def record(self, game_id: str) -> dict[str, Any]:
        """The runtime record by GET."""
        answer = self.client.get(f"/api/v1/internal/runtimes/{game_id}")
        assert answer.status_code == 200, answer.text
        return cast("dict[str, Any]", answer.json())

    def has_record(self, game_id: str) -> bool:
        """Whether the service knows the game."""
        return self.client.get(f"/api/v1/internal/runtimes/{game_id}").status_code == 200

    def operations(self, game_id: str) -> list[dict[str, Any]]:
        """The operation log by GET, newest first."""
        answer = self.client.get(f"/api/v1/internal/runtimes/{game_id}/operations")
        assert answer.status_code == 200, answer.text
        return cast("list[dict[str, Any]]", answer.json()["items"])

    def post(self, game_id: str, verb: str, *, caller: str = "", **body: object) -> httpx.Response:
        """A verb over REST."""
        headers = {"X-Galaxy-Caller": caller} if caller else {}
        return self.client.post(f"/api/v1/internal/runtimes/{game_id}/{verb}", json=body, headers=headers)

    def run_command(self, *arguments: str) -> str:
        """Run a management command in the service's environment, as an operator does; what it printed."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=CLONE, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Query the database of the service, for states that no response shows while a process is stopped."""
        return self.servers.postgres.rows(self.servers.database, query, *parameters)

    def logs(self) -> Iterator[tuple[str, str]]:
        """The end of each process's log, by name."""
        for name, process in self.processes.items():
            if process.log_file.exists():
                yield name, process.tail()

    @property
    def environment(self) -> dict[str, str]:
        """All that its processes see of the machine's environment, and its own settings."""
        return {**_environment(self.settings), **self._release}

    def _redis_clock_ms(self) -> int:
        seconds, microseconds = self.streams.time()
        return seconds * 1000 + microseconds // 1000

    def _add(self, name: str) -> ServiceProcess:
        kind = name.partition("-")[0]
        command = [*COMMANDS[kind]]
        if kind == "worker":
            command += ["-n", f"{name}.{self.playground.stack}@%h"]
        process = ServiceProcess(name, command, self.environment, self._log_folder / f"{name}.log")
        self.processes[name] = process
        return process


@contextmanager
def opened(service: Service) -> Iterator[Service]:
    """Close the service whatever happens."""
    try:
        yield service
    finally:
        service.close()


def migrate(url: str) -> None:
    """Bring a database up to date, as an operator does."""
    environment = _environment({"DATABASE_URL": url})
    command = [sys.executable, "manage.py", "migrate", "--no-input", "--verbosity", "0"]
    done = subprocess.run(command, cwd=CLONE, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def allot(postgres: PostgresServer, redis_server: RedisServer, *, template: str) -> Servers:
    """Databases for one service on shared servers."""
    return Servers(postgres, redis_server, postgres.create_database(template=template), redis_server.next_database())


def _settings(servers: Servers, playground: Playground) -> dict[str, str]:
    return {
        "INTERNAL_HTTP_ADDR": f"127.0.0.1:{free_port()}",
        "API_AUTH": "network",
        "DATABASE_URL": servers.postgres.url(servers.database),
        "REDIS_URL": servers.redis.url(servers.redis_database),
        "DOCKER_HOST": str(os.environ["DOCKER_HOST"]),
        "DOCKER_NETWORK": playground.network,
        "STACK": playground.stack,
        "GAME_STATE_ROOT": str(playground.state_root),
        "CONTAINER_STOP_TIMEOUT_SECONDS": "2",
        # A Docker call may take almost half of it, on a busy machine too.
        "GAME_LEASE_TTL_SECONDS": "20",
        "SHUTDOWN_TIMEOUT": f"{SHUTDOWN_SECONDS}s",
        "WORKER_CONCURRENCY": "4",
    }


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**inherited, "PYTHONUNBUFFERED": "1", **{f"RTMANAGER_{name}": text for name, text in settings.items()}}


def _at_least(count: int, found: list[dict[str, str]]) -> list[dict[str, str]]:
    return found if len(found) >= count else []

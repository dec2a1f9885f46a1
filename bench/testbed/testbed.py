"""The testbed: the whole service on servers of its own, and clients that send jobs and read results."""

import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import docker
import httpx
import redis
from docker.errors import DockerException, ImageNotFound
from requests.exceptions import RequestException

from bench.testbed.listener import Arrival, Listener
from deploy.local.console import Console
from deploy.local.docker import cleanup
from deploy.local.docker.daemon import connect_docker
from deploy.local.docker.network import remove_bridge
from deploy.local.docker.sample_images import REPOSITORY, SAMPLE_TAGS
from deploy.local.stack import Stack, running
from deploy.local.stack_options import StackOptions
from deploy.local.system.errors import LocalError
from deploy.local.workspace import CLONE, Workspace, workspace_of
from rtmanager.config import PREFIX, Config
from runtimes.container_spec import LABEL_OWNER, LABEL_STACK, OWNER

IMAGE = SAMPLE_TAGS[0]
# An engine that ignores SIGTERM; the measure that needs it builds it.
STUBBORN_IMAGE = f"{REPOSITORY}-stubborn:1.0.0"
WORKSPACE = workspace_of("bench")
# Where the figure of ``make run`` starts a second stack, on the engine of the first.
READY_WORKSPACE = workspace_of("bench-ready")
# The service runs in an environment of an installation: packages of rivals and of development must not affect it.
PYTHON = str(CLONE / ".run" / "bench" / "service" / "bin" / "python")
# As in an installation, except the settle time of a start, which has a figure of its own.
_SETTINGS: Mapping[str, str] = {"START_SETTLE": "0ms", "API_AUTH": "token", "LOG_LEVEL": "warning"}
# The containers of rivals have this stack, so that the service ignores them.
_RIVALS = "-rival"
_ANSWER_SECONDS = 120.0
_DOCKER_SECONDS = 120
_TOKEN_SECONDS = 120
_CLEANERS = 8
_numbers = itertools.count(1)


def fresh(prefix: str, count: int) -> list[str]:
    """New ids of games; no two calls of one process return the same."""
    return [f"{prefix}-{next(_numbers)}" for _ in range(count)]


@dataclass(slots=True)
class Testbed:
    """The running service, and everything to measure it with. Get one from ``Testbeds``."""

    stack: Stack
    token: str
    streams: "redis.Redis"
    docker: docker.DockerClient
    http: httpx.Client
    results: Listener
    health: Listener

    @property
    def config(self) -> Config:
        """The settings of the service."""
        return self.stack.config

    @property
    def url(self) -> str:
        """The URL of the API, without a slash at its end; ``http`` has it and the token already."""
        return f"{self.stack.url}/api/v1/internal"

    @property
    def rival_stack(self) -> str:
        """The stack label of containers that rivals create."""
        return f"{self.config.stack}{_RIVALS}"

    def is_ready(self) -> bool:
        """Whether the service reports that it is ready."""
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.stack.url}/readyz", timeout=5.0, trust_env=False).is_success
        return False

    def start(self, game_id: str, *, image_ref: str = IMAGE) -> float:
        """Write a start job; return the moment before it was written, by ``time.perf_counter``."""
        return self._send(self.config.start_jobs_stream, {"game_id": game_id, "image_ref": image_ref})

    def stop(self, game_id: str) -> float:
        """Write a stop job; return the moment before it was written."""
        return self._send(self.config.stop_jobs_stream, {"game_id": game_id, "reason": "admin_request"})

    def started(self, game_id: str) -> float:
        """Start a game and wait for the result; return the milliseconds. Raises LocalError if it failed."""
        mark = self.results.mark()
        sent = self.start(game_id)
        (arrival,) = self.succeeded(since=mark, count=1)
        return (arrival.at - sent) * 1000

    def started_at_once(self, game_ids: Collection[str], *, image_ref: str = IMAGE) -> float:
        """Start games at once and wait for all results; return games per second. Raises LocalError if one failed."""
        return self._at_once(lambda game_id: self.start(game_id, image_ref=image_ref), game_ids)

    def stopped_at_once(self, game_ids: Collection[str]) -> float:
        """Stop games all at once; as ``started_at_once``."""
        return self._at_once(self.stop, game_ids)

    def steps_ms(self, game_id: str) -> dict[str, float]:
        """The steps that the service recorded of the game's latest operation, in milliseconds."""
        answer = self.http.get(f"/runtimes/{game_id}/operations")
        latest = answer.raise_for_status().json()["items"][0]
        return {step["name"]: float(step["duration_ms"] or 0) for step in latest["steps"]}

    def succeeded(self, *, since: int, count: int) -> list[Arrival]:
        """The given number of results since the mark. Raises LocalError unless all are successes."""
        arrivals = self.results.wait(since=since, count=count, seconds=_ANSWER_SECONDS)
        failed = [one.fields for one in arrivals if one.fields["outcome"] != "success"]
        if failed:
            raise LocalError(f"{len(failed)} of {count} jobs failed, the first with {failed[0]}")
        return arrivals

    def clear(self, game_ids: Collection[str]) -> None:
        """Stop and remove games by the service, so that no repair of it disturbs the next measurement."""
        self.stopped_at_once(game_ids)
        self.remove(game_ids)

    def remove(self, game_ids: Collection[str]) -> None:
        """Remove the containers of stopped games. Raises LocalError if the service refuses."""
        with ThreadPoolExecutor(_CLEANERS) as pool:
            list(pool.map(self._remove, game_ids))

    @contextmanager
    def running(self, size: int) -> Iterator[list[str]]:
        """Running games during a block; yields their ids. After an error the testbed stops, and with it its games."""
        game_ids = fresh("running", size)
        self.started_at_once(game_ids)
        yield game_ids
        self.clear(game_ids)

    def _at_once(self, send: Callable[[str], float], game_ids: Collection[str]) -> float:
        mark = self.results.mark()
        began = time.perf_counter()
        for game_id in game_ids:
            send(game_id)
        last = self.succeeded(since=mark, count=len(game_ids))[-1]
        return len(game_ids) / (last.at - began)

    def _remove(self, game_id: str) -> None:
        answer = self.http.delete(f"/runtimes/{game_id}/container")
        if not answer.is_success:
            raise LocalError(f"game {game_id} could not be removed: {answer.status_code} {answer.text}")

    def _send(self, stream: str, fields: Mapping[str, str]) -> float:
        job: dict[Any, Any] = {**fields, "requested_at_ms": str(time.time_ns() // 10**6)}
        sent = time.perf_counter()
        self.streams.xadd(stream, job)
        return sent


@dataclass(slots=True)
class Testbeds:
    """Hands out a testbed with the settings that a measure needs. One runs at a time; it is kept while it fits.

    ``docker_host``: the engine to measure on; empty for an engine of the benchmark's own, which it removes at the end.
    ``quick``: the measures only show that they work.
    """

    workspace: Workspace
    console: Console
    docker_host: str = ""
    quick: bool = False
    _options: StackOptions | None = None
    _testbed: Testbed | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    @property
    def owns_engine(self) -> bool:
        """Whether the engine belongs to the benchmark, which may change it as it likes."""
        return not self.docker_host

    def get(self, *, settings: Mapping[str, str] | None = None, copies: Mapping[str, int] | None = None) -> Testbed:
        """A testbed with these settings (without prefix) and this number of processes of each kind."""
        host = {"DOCKER_HOST": self.docker_host} if self.docker_host else {}
        options = StackOptions(
            own_docker=self.owns_engine,
            live_restore=False,
            copies=copies or {},
            settings={**_SETTINGS, **host, **(settings or {})},
            python=PYTHON,
        )
        if self._testbed is None or options != self._options:
            self.close()
            self._testbed = self._open.enter_context(_testbed(self.workspace, self.console, options))
            self._options = options
        return self._testbed

    def engine_version(self) -> str:
        """The version of the engine. One of its own starts for this, if it does not run. Raises LocalError."""
        try:
            host = self.docker_host or self.get().stack.docker_host
            with connect_docker(host, timeout_seconds=_DOCKER_SECONDS) as client:
                return str(client.version()["Version"]).partition("+")[0]
        except (DockerException, RequestException) as error:
            raise LocalError(f"no Docker daemon responds at {self.docker_host}: {error}") from None

    def progress(self, text: str) -> None:
        """Print a line about the progress."""
        self.console.say(f"    {text}")

    def close(self) -> None:
        """Stop what runs. Idempotent. A clean-up that fails is reported; the next testbed begins with another one."""
        self._testbed = self._options = None
        try:
            self._open.close()
        except (LocalError, DockerException, RequestException) as error:
            self.console.say(f"  the clean-up is incomplete: {error}")


@contextmanager
def _testbed(workspace: Workspace, console: Console, options: StackOptions) -> Iterator[Testbed]:
    """Start one with empty servers; stop and remove it after the block."""
    former = dict(os.environ)
    _remove_remains(options.settings.get("DOCKER_HOST", ""), workspace)
    try:
        with running(workspace, console, fresh=True, options=options) as stack, ExitStack() as opened:
            token = _token()
            url = stack.config.streams_url
            yield Testbed(
                stack=stack,
                token=token,
                streams=opened.enter_context(redis.Redis.from_url(url, decode_responses=True)),
                docker=opened.enter_context(connect_docker(stack.docker_host, timeout_seconds=_DOCKER_SECONDS)),
                http=opened.enter_context(_http(stack, token)),
                results=opened.enter_context(Listener(url, stack.config.job_results_stream)),
                health=opened.enter_context(Listener(url, stack.config.health_events_stream)),
            )
    finally:
        # The service never deletes a state directory. The folder itself may be mounted into the engine.
        for directory in workspace.games.glob("*"):
            shutil.rmtree(directory, ignore_errors=True)
        # The stack writes its addresses there, and the next one would use those servers.
        os.environ.clear()
        os.environ.update(former)
        _remove_remains(options.settings.get("DOCKER_HOST", ""), workspace)


def _remove_remains(docker_host: str, workspace: Workspace) -> None:
    """Remove what a testbed, perhaps one that was killed, left. An engine of its own takes all but a bridge with it."""
    if not docker_host:
        remove_bridge(cleanup.bridge_of(READY_WORKSPACE.identity))
        return
    stack = f"{workspace.kind}-{workspace.identity}"
    with connect_docker(docker_host, timeout_seconds=_DOCKER_SECONDS) as client:
        owned = client.api.containers(all=True, filters={"label": f"{LABEL_OWNER}={OWNER}"})
        stacks = {str(one["Labels"].get(LABEL_STACK, "")) for one in owned}
        # Rivals and single measures have stack labels that begin with this one.
        for one in stacks:
            if one == stack or one.startswith(f"{stack}-"):
                cleanup.remove_games(client, one)
        for identity in (workspace.identity, READY_WORKSPACE.identity):
            cleanup.remove_networks(client, identity)
        with suppress(ImageNotFound):
            client.images.remove(STUBBORN_IMAGE)


def forget_the_environment() -> None:
    """Remove every variable that is meant for another installation."""
    for name in [name for name in os.environ if name.startswith(PREFIX) or name == "DOCKER_HOST"]:
        del os.environ[name]


def _http(stack: Stack, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}", "X-Galaxy-Caller": "gm"}
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    return httpx.Client(base_url=f"{stack.url}/api/v1/internal", headers=headers, timeout=90.0, limits=limits)


def _token() -> str:
    """A token of Game Master for the installation that the environment names."""
    words = ["api_token", "create", "bench", "--caller", "gm", "--scope", "read", "--scope", "operate", "--json"]
    done = subprocess.run(
        [PYTHON, "manage.py", *words], cwd=CLONE, capture_output=True, text=True, check=True, timeout=_TOKEN_SECONDS
    )
    return str(json.loads(done.stdout)["token"])

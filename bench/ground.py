"""The test environment: the whole service on real parts of its own, and clients that send jobs and read results."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import docker
import httpx
import redis

from bench.listener import Arrival, Listener
from deploy.local.console import Console
from deploy.local.docker.daemon import connect_docker
from deploy.local.docker.sample_images import SAMPLE_TAGS
from deploy.local.stack import Stack, running
from deploy.local.stack_options import StackOptions
from deploy.local.system.errors import LocalError
from deploy.local.workspace import CLONE, Workspace
from rtmanager.config import PREFIX, Config

IMAGE = SAMPLE_TAGS[0]
# The service runs in an environment as an installation has it: neither what the rivals need nor what development needs
# may change what is measured.
PYTHON = str(CLONE / ".run" / "bench" / "service" / "bin" / "python")
# As in an installation, except the settle time of a start, which would hide the rest: it has a figure of its own.
_SETTINGS: Mapping[str, str] = {"START_SETTLE": "0ms", "API_AUTH": "token", "LOG_LEVEL": "warning"}
_ANSWER_SECONDS = 120.0
_CLEANERS = 8


@dataclass(slots=True)
class Ground:
    """The service, up, and everything to measure it with."""

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
        """Of the API, without a slash at its end; ``http`` has it and the token already."""
        return f"{self.stack.url}/api/v1/internal"

    def start(self, game_id: str, *, image_ref: str = IMAGE) -> float:
        """Write a start job; returns the moment before it was written, by ``time.perf_counter``."""
        return self._order(self.config.start_jobs_stream, {"game_id": game_id, "image_ref": image_ref})

    def stop(self, game_id: str) -> float:
        """Write a stop job; returns the moment before it was written."""
        return self._order(self.config.stop_jobs_stream, {"game_id": game_id, "reason": "admin_request"})

    def started(self, game_id: str) -> float:
        """Start a game and wait for the result; returns the milliseconds. LocalError when it failed."""
        mark = self.results.mark()
        sent = self.start(game_id)
        (arrival,) = self.succeeded(since=mark, count=1)
        return (arrival.at - sent) * 1000

    def started_at_once(self, game_ids: Collection[str], *, image_ref: str = IMAGE) -> float:
        """Start games all at once and wait for all results; returns how many per second. LocalError when one failed."""
        return self._at_once(lambda game_id: self.start(game_id, image_ref=image_ref), game_ids)

    def stopped_at_once(self, game_ids: Collection[str]) -> float:
        """Stop games all at once, likewise."""
        return self._at_once(self.stop, game_ids)

    def steps_ms(self, game_id: str) -> dict[str, float]:
        """What the service itself has noted of the game's latest operation: each step with its milliseconds."""
        answer = self.http.get(f"/runtimes/{game_id}/operations")
        latest = answer.raise_for_status().json()["items"][0]
        return {step["name"]: float(step["duration_ms"] or 0) for step in latest["steps"]}

    def succeeded(self, *, since: int, count: int) -> list[Arrival]:
        """The given number of results since the mark, all of them successes. LocalError otherwise."""
        arrivals = self.results.wait(since=since, count=count, seconds=_ANSWER_SECONDS)
        failed = [one.fields for one in arrivals if one.fields["outcome"] != "success"]
        if failed:
            message = f"{len(failed)} of {count} jobs failed, the first with {failed[0]}"
            raise LocalError(message)
        return arrivals

    def clear(self, game_ids: Collection[str]) -> None:
        """Stop and remove games as their owner does it, so that nothing is out of order and busies the service."""
        self.stopped_at_once(game_ids)
        self.remove(game_ids)

    def remove(self, game_ids: Collection[str]) -> None:
        """Remove the containers of games that have been stopped. LocalError when the service refuses."""
        with ThreadPoolExecutor(_CLEANERS) as pool:
            list(pool.map(self._remove, game_ids))

    def _at_once(self, order: Callable[[str], float], game_ids: Collection[str]) -> float:
        mark = self.results.mark()
        began = time.perf_counter()
        for game_id in game_ids:
            order(game_id)
        last = self.succeeded(since=mark, count=len(game_ids))[-1]
        return len(game_ids) / (last.at - began)

    def _remove(self, game_id: str) -> None:
        answer = self.http.delete(f"/runtimes/{game_id}/container")
        if not answer.is_success:
            message = f"game {game_id} could not be removed: {answer.status_code} {answer.text}"
            raise LocalError(message)

    def _order(self, stream: str, fields: Mapping[str, str]) -> float:
        job: dict[Any, Any] = {**fields, "requested_at_ms": str(time.time_ns() // 10**6)}
        sent = time.perf_counter()
        self.streams.xadd(stream, job)
        return sent


@dataclass(slots=True)
class Grounds:
    """Hands out a ground of the shape that a measure asks for; there is one at a time, and it is kept while it fits.

    ``quick``: the measures are only to show that they work.
    """

    workspace: Workspace
    console: Console
    quick: bool = False
    _options: StackOptions | None = None
    _ground: Ground | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    def get(self, *, settings: Mapping[str, str] | None = None, copies: Mapping[str, int] | None = None) -> Ground:
        """A ground with these settings (without prefix) on top of the usual, and this number of processes of a kind."""
        options = StackOptions(
            own_docker=True,
            live_restore=False,
            copies=copies or {},
            settings={**_SETTINGS, **(settings or {})},
            python=PYTHON,
        )
        if self._ground is None or options != self._options:
            self.close()
            self._ground = self._open.enter_context(ground(self.workspace, self.console, options))
            self._options = options
        return self._ground

    def progress(self, text: str) -> None:
        """Print a line about the progress."""
        self.console.say(f"    {text}")

    def close(self) -> None:
        """Take down what is up. Idempotent."""
        self._ground = self._options = None
        self._open.close()


@contextmanager
def ground(workspace: Workspace, console: Console, options: StackOptions) -> Iterator[Ground]:
    """One that is up inside the block, from nothing, and completely gone after it."""
    former = dict(os.environ)
    try:
        with running(workspace, console, fresh=True, options=options) as stack, ExitStack() as opened:
            token = _token()
            url = stack.config.streams_url
            yield Ground(
                stack=stack,
                token=token,
                streams=opened.enter_context(redis.Redis.from_url(url, decode_responses=True)),
                docker=opened.enter_context(connect_docker(stack.docker_host)),
                http=opened.enter_context(_http(stack, token)),
                results=opened.enter_context(Listener(url, stack.config.job_results_stream)),
                health=opened.enter_context(Listener(url, stack.config.health_events_stream)),
            )
    finally:
        # Each game left some; the service never deletes them.
        shutil.rmtree(workspace.games, ignore_errors=True)
        # The stack writes its addresses there, and the next one would take them for those of servers to use.
        os.environ.clear()
        os.environ.update(former)


def forget_the_environment() -> None:
    """Nothing that is meant for another installation may reach the one that is measured."""
    for name in [name for name in os.environ if name.startswith(PREFIX) or name == "DOCKER_HOST"]:
        del os.environ[name]


def _http(stack: Stack, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}", "X-Galaxy-Caller": "gm"}
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    return httpx.Client(base_url=f"{stack.url}/api/v1/internal", headers=headers, timeout=90.0, limits=limits)


def _token() -> str:
    """One of Game Master's, for the installation that the environment names."""
    words = [
        "manage.py",
        "api_token",
        "create",
        "bench",
        "--caller",
        "gm",
        "--scope",
        "read",
        "--scope",
        "operate",
        "--json",
    ]
    done = subprocess.run([PYTHON, *words], cwd=CLONE, capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout)["token"])

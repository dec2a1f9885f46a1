"""Who plays in the demo: Game Lobby, an operator with curl and docker, and a neighbour in the games' network."""

import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import redis

from rtmanager.local.commands import wait_until
from rtmanager.local.dockerd import client
from rtmanager.local.errors import LocalError
from rtmanager.local.images import SAMPLE_TAGS
from rtmanager.local.stack import Stack
from runtimes.specs import (
    KIND,
    LABEL_GAME_ID,
    LABEL_IMAGE_REF,
    LABEL_KIND,
    LABEL_OWNER,
    LABEL_STACK,
    OWNER,
    container_name,
    engine_endpoint,
)

_ANSWER_SECONDS = 60.0
_HEALTHY_SECONDS = 20.0


def expect(condition: object, otherwise: str) -> None:
    """Raises LocalError saying what was found instead."""
    if not condition:
        raise LocalError(otherwise)


@dataclass(slots=True)
class Player:
    """Acts for one game. ``seen`` is how far each stream has been read."""

    stack: Stack
    streams: "redis.Redis"
    game_id: str
    seen: dict[str, str] = field(default_factory=dict)

    def order(self, stream: str, **fields: str) -> None:
        """Write a job as Lobby does."""
        job: dict[Any, Any] = {"game_id": self.game_id, **fields, "requested_at_ms": str(time.time_ns() // 10**6)}
        self.streams.xadd(stream, job)

    def result(self) -> dict[str, str]:
        """The next result of this game. LocalError when none comes."""
        return self._next(self.stack.config.job_results_stream)

    def health_event(self, event_type: str) -> dict[str, str]:
        """The next health event of this game and type. LocalError when none comes."""
        return self._next(self.stack.config.health_events_stream, event_type=event_type)

    def call(self, method: str, path: str = "", **body: object) -> httpx.Response:
        """Call the API about this game."""
        address = f"{self.stack.url}/api/v1/internal/runtimes/{self.game_id}{path}"
        return httpx.request(method, address, json=body or None, timeout=90.0)

    def record(self, method: str = "GET", path: str = "", **body: object) -> dict[str, Any]:
        """Call the API and return what it answers with success."""
        response = self.call(method, path, **body)
        expect(response.status_code == httpx.codes.OK, f"{method} answered {response.status_code}: {response.text}")
        return dict(response.json())

    def wait_for_status(self, status: str) -> dict[str, Any]:
        """The record once it has this status. LocalError when it does not get it."""
        found: dict[str, Any] = {}

        def has_it() -> bool:
            response = self.call("GET")
            found.update(response.json())
            return response.is_success and found["status"] == status

        expect(wait_until(has_it, timeout_seconds=_ANSWER_SECONDS), f"the game did not become {status}: {found}")
        return found

    def ask_engine(self) -> str:
        """Call the engine's health address from a container of its own in the games' network."""
        answer = ""

        def is_healthy() -> bool:
            nonlocal answer
            code, answer = self._wget(f"{engine_endpoint(self.game_id)}/healthz")
            return code == 0 and answer != ""

        healthy = wait_until(is_healthy, timeout_seconds=_HEALTHY_SECONDS)
        expect(healthy, f"the engine did not answer; a caller in its network saw: {answer or 'nothing'}")
        return answer

    def remove_from_outside(self) -> None:
        """What RTM must notice: ``docker rm -f``."""
        with client(self.stack.docker_host) as engine:
            engine.containers.get(container_name(self.game_id)).remove(force=True)

    def make_by_hand(self) -> str:
        """What RTM must adopt: a container with our labels that nobody asked it for. Returns its id."""
        labels = {
            LABEL_OWNER: OWNER,
            LABEL_STACK: self.stack.config.stack,
            LABEL_KIND: KIND,
            LABEL_GAME_ID: self.game_id,
            LABEL_IMAGE_REF: SAMPLE_TAGS[0],
        }
        name, mount = container_name(self.game_id), self.stack.config.engine_state_mount_path
        with client(self.stack.docker_host) as engine:
            made = engine.containers.run(
                SAMPLE_TAGS[0], detach=True, name=name, hostname=name, labels=labels, tmpfs={mount: ""},
                network=self.stack.config.docker_network,
            )  # fmt: skip
            return str(made.id)

    def _next(self, stream: str, **wanted: str) -> dict[str, str]:
        deadline = time.monotonic() + _ANSWER_SECONDS
        while time.monotonic() < deadline:
            # Below the client's own time-out, which would repeat the read.
            answer: Any = self.streams.xread({stream: self.seen.get(stream, "0")}, count=1, block=1000)
            for _stream, entries in answer or []:
                entry_id, fields = entries[0]
                self.seen[stream] = entry_id
                if {"game_id": self.game_id, **wanted}.items() <= fields.items():
                    return dict(fields)
        described = ", ".join(f"{name} {value}" for name, value in wanted.items()) or "entry"
        message = f"no {described} of game {self.game_id} appeared in {stream} within {_ANSWER_SECONDS:.0f} s"
        raise LocalError(message)

    def _wget(self, address: str) -> tuple[int, str]:
        command = ["timeout", "5", "wget", "-q", "-O", "-", address]
        with client(self.stack.docker_host) as engine:
            caller = engine.containers.create(SAMPLE_TAGS[0], command, network=self.stack.config.docker_network)
            try:
                caller.start()
                code = int(caller.wait()["StatusCode"])
                return code, caller.logs().decode(errors="replace")
            finally:
                caller.remove(force=True)

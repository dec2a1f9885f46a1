"""The callers of the demo: Game Lobby, an operator with curl and docker, and a container in the games' network."""

import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import redis

from deploy.local.docker.daemon import connect_docker
from deploy.local.docker.sample_images import SAMPLE_TAGS
from deploy.local.stack import Stack
from deploy.local.system.errors import LocalError
from deploy.local.system.shell import wait_until
from runtimes.container_spec import (
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

_RESULT_SECONDS = 60.0
_HEALTHY_SECONDS = 20.0


def expect(condition: object, otherwise: str) -> None:
    """Raise LocalError with the text ``otherwise`` if the condition is false."""
    if not condition:
        raise LocalError(otherwise)


@dataclass(slots=True)
class DemoClient:
    """Acts for one game. ``last_ids`` holds the last read entry of each stream."""

    stack: Stack
    streams: "redis.Redis"
    game_id: str
    last_ids: dict[str, str] = field(default_factory=dict)

    def submit_job(self, stream: str, **fields: str) -> None:
        """Write a job as Game Lobby does."""
        job: dict[Any, Any] = {"game_id": self.game_id, **fields, "requested_at_ms": str(time.time_ns() // 10**6)}
        self.streams.xadd(stream, job)

    def result(self) -> dict[str, str]:
        """Return the next job result of this game. Raises LocalError if none arrives."""
        return self._next(self.stack.config.job_results_stream)

    def health_event(self, event_type: str) -> dict[str, str]:
        """Return the next health event of this game and type. Raises LocalError if none arrives."""
        return self._next(self.stack.config.health_events_stream, event_type=event_type)

    def call(self, method: str, path: str = "", **body: object) -> httpx.Response:
        """Call the API for this game."""
        address = f"{self.stack.url}/api/v1/internal/runtimes/{self.game_id}{path}"
        return httpx.request(method, address, json=body or None, timeout=90.0, trust_env=False)

    def record(self, method: str = "GET", path: str = "", **body: object) -> dict[str, Any]:
        """Call the API; return the body of a successful response. Raises LocalError for another status."""
        response = self.call(method, path, **body)
        expect(response.status_code == httpx.codes.OK, f"{method} returned {response.status_code}: {response.text}")
        return dict(response.json())

    def wait_for_status(self, status: str) -> dict[str, Any]:
        """Return the record when it has this status. Raises LocalError on timeout."""
        record: dict[str, Any] = {}

        def has_status() -> bool:
            response = self.call("GET")
            record.update(response.json())
            return response.is_success and record["status"] == status

        expect(wait_until(has_status, timeout_seconds=_RESULT_SECONDS), f"the game is not {status}: {record}")
        return record

    def call_engine(self) -> str:
        """Call the health address of the engine from another container in the games' network."""
        output = ""

        def is_healthy() -> bool:
            nonlocal output
            code, output = self._wget(f"{engine_endpoint(self.game_id)}/healthz")
            return code == 0 and output != ""

        healthy = wait_until(is_healthy, timeout_seconds=_HEALTHY_SECONDS)
        expect(healthy, f"the engine did not respond; output of wget in its network: {output or 'none'}")
        return output

    def remove_with_docker(self) -> None:
        """Remove the container with ``docker rm -f``. RTM must detect it."""
        with connect_docker(self.stack.docker_host) as client:
            client.containers.get(container_name(self.game_id)).remove(force=True)

    def create_by_hand(self) -> str:
        """Create a container with RTM's labels but without an operation; return its id. RTM must adopt it."""
        labels = {
            LABEL_OWNER: OWNER,
            LABEL_STACK: self.stack.config.stack,
            LABEL_KIND: KIND,
            LABEL_GAME_ID: self.game_id,
            LABEL_IMAGE_REF: SAMPLE_TAGS[0],
        }
        name, mount = container_name(self.game_id), self.stack.config.engine_state_mount_path
        with connect_docker(self.stack.docker_host) as client:
            container = client.containers.run(
                SAMPLE_TAGS[0], detach=True, name=name, hostname=name, labels=labels, tmpfs={mount: ""},
                network=self.stack.config.docker_network,
            )  # fmt: skip
            return str(container.id)

    def _next(self, stream: str, **wanted: str) -> dict[str, str]:
        deadline = time.monotonic() + _RESULT_SECONDS
        while time.monotonic() < deadline:
            # Below the timeout of the client, which would repeat the read.
            response: Any = self.streams.xread({stream: self.last_ids.get(stream, "0")}, count=1, block=1000)
            for _stream, entries in response or []:
                entry_id, fields = entries[0]
                self.last_ids[stream] = entry_id
                if {"game_id": self.game_id, **wanted}.items() <= fields.items():
                    return dict(fields)
        described = ", ".join(f"{name} {value}" for name, value in wanted.items()) or "entry"
        message = f"no {described} of game {self.game_id} appeared in {stream} within {_RESULT_SECONDS:.0f} s"
        raise LocalError(message)

    def _wget(self, address: str) -> tuple[int, str]:
        command = ["timeout", "5", "wget", "-q", "-O", "-", address]
        with connect_docker(self.stack.docker_host) as client:
            caller = client.containers.create(SAMPLE_TAGS[0], command, network=self.stack.config.docker_network)
            try:
                caller.start()
                code = int(caller.wait()["StatusCode"])
                return code, caller.logs().decode(errors="replace")
            finally:
                caller.remove(force=True)

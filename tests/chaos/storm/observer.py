"""Observes the storm from outside: containers by label, results as a reader of the stream."""

import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import redis
from docker.errors import DockerException
from requests.exceptions import RequestException

from deploy.local.docker.daemon import connect_docker
from deploy.local.stack import Stack
from runtimes.container_spec import LABEL_GAME_ID, LABEL_OWNER, LABEL_STACK, OWNER
from tests.chaos.storm.lobby import connect

_POLL_SECONDS = 0.2
_BLOCK_MS = 500


@dataclass(slots=True)
class Observer:
    """Runs two threads until ``stopping`` is set. ``doubles``: when a game was seen with two running containers."""

    stack: Stack
    stopping: threading.Event
    observations: int = 0
    live: int = 0
    most_live: int = 0
    doubles: dict[str, str] = field(default_factory=dict)
    results: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def start(self) -> list[threading.Thread]:
        """Start the threads; the caller joins them after ``stopping``."""
        threads = [threading.Thread(target=watch, daemon=True) for watch in (self._watch_docker, self._read_results)]
        for thread in threads:
            thread.start()
        return threads

    def _watch_docker(self) -> None:
        while not self.stopping.is_set():
            # A Docker daemon that is being killed is not a finding.
            with (
                suppress(DockerException, RequestException),
                connect_docker(self.stack.docker_host, timeout_seconds=10) as it,
            ):
                while not self.stopping.wait(_POLL_SECONDS):
                    self._observe(it.api)
            self.stopping.wait(_POLL_SECONDS)

    def _observe(self, api: Any) -> None:
        found = api.containers(filters={**owned(self.stack), "status": ["running", "paused", "restarting"]})
        games = Counter(one["Labels"].get(LABEL_GAME_ID, "") for one in found)
        self.observations += 1
        self.live, self.most_live = len(found), max(self.most_live, len(found))
        for game_id, count in games.items():
            if count > 1:
                self.doubles.setdefault(game_id, f"{count} at {time.strftime('%X')}")

    def _read_results(self) -> None:
        stream, last = self.stack.config.job_results_stream, "0"
        while not self.stopping.is_set():
            try:
                with connect(self.stack.config) as streams:
                    while not self.stopping.is_set():
                        answer: Any = streams.xread({stream: last}, count=500, block=_BLOCK_MS)
                        for entry_id, fields in answer[0][1] if answer else ():
                            self.results.append((entry_id, fields))
                            last = entry_id
            except redis.RedisError:
                self.stopping.wait(_POLL_SECONDS)


def owned(stack: Stack) -> dict[str, list[str]]:
    """Return the filter of this installation's containers."""
    return {"label": [f"{LABEL_OWNER}={OWNER}", f"{LABEL_STACK}={stack.config.stack}"]}

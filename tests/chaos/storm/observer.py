"""Who watches the storm from outside: Docker by label, the results as a reader of the stream sees them."""

import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import redis
from docker.errors import DockerException
from requests.exceptions import RequestException

from rtmanager.local.dockerd import client
from rtmanager.local.stack import Stack
from runtimes.specs import LABEL_GAME_ID, LABEL_OWNER, LABEL_STACK, OWNER
from tests.chaos.storm.lobby import connect

_LOOK_SECONDS = 0.2
_BLOCK_MS = 500


@dataclass(slots=True)
class Observer:
    """Two threads until told to stop. ``doubles`` says of each game that had two live containers when that was seen."""

    stack: Stack
    stopping: threading.Event
    looks: int = 0
    live: int = 0
    most_live: int = 0
    doubles: dict[str, str] = field(default_factory=dict)
    results: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def start(self) -> list[threading.Thread]:
        """Begin; returns the threads, to be joined after ``stopping``."""
        threads = [threading.Thread(target=watch, daemon=True) for watch in (self._watch_docker, self._read_results)]
        for thread in threads:
            thread.start()
        return threads

    def _watch_docker(self) -> None:
        while not self.stopping.is_set():
            # An engine that is being killed is no finding.
            with suppress(DockerException, RequestException), client(self.stack.docker_host, timeout_seconds=10) as it:
                while not self.stopping.wait(_LOOK_SECONDS):
                    self._look(it.api)
            self.stopping.wait(_LOOK_SECONDS)

    def _look(self, api: Any) -> None:
        found = api.containers(filters={**owned(self.stack), "status": ["running", "paused", "restarting"]})
        games = Counter(one["Labels"].get(LABEL_GAME_ID, "") for one in found)
        self.looks += 1
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
                self.stopping.wait(_LOOK_SECONDS)


def owned(stack: Stack) -> dict[str, list[str]]:
    """The filter of this installation's containers."""
    return {"label": [f"{LABEL_OWNER}={OWNER}", f"{LABEL_STACK}={stack.config.stack}"]}

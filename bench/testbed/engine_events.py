"""Reads Docker's own events, and records the moment at which each arrives."""

import threading
import time
from types import TracebackType
from typing import Any, Self

import docker

from deploy.local.system.errors import LocalError

SERVICE_LABEL = "com.docker.swarm.service.name"
_TIMEOUT_SECONDS = 120
_END_SECONDS = 10.0


class EngineEvents:
    """A thread that reads one kind of event of every container; use it as a context."""

    def __init__(self, docker_host: str, action: str) -> None:
        self._client = docker.APIClient(base_url=docker_host, version="auto", timeout=_TIMEOUT_SECONDS)
        self._events: Any = self._client.events(decode=True, filters={"type": "container", "event": action})
        self._seen: dict[str, tuple[float, str]] = {}
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()
        # A daemon thread: an engine that does not close the connection must not hold up the benchmark.
        self._thread.join(_END_SECONDS)
        self._client.close()

    def wait(self, name: str, *, seconds: float) -> tuple[float, str]:
        """The moment of the event of this container or service (by ``time.perf_counter``), and the container's id.

        Raises LocalError if it does not arrive in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: name in self._seen, timeout=seconds):
                message = f"Docker reported no event of {name} within {seconds:.0f} s"
                raise LocalError(message)
            return self._seen[name]

    def _listen(self) -> None:
        for event in self._events:
            at, actor = time.perf_counter(), event["Actor"]
            attributes = actor["Attributes"]
            with self._changed:
                # The containers of a service have names that are not known before the start.
                self._seen[attributes.get(SERVICE_LABEL) or attributes["name"]] = (at, actor["ID"])
                self._changed.notify_all()

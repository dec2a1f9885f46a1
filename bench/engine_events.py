"""Who listens to Docker itself, and notes the moment at which each event arrives."""

import threading
import time
from types import TracebackType
from typing import Any, Self

import docker

from deploy.local.system.errors import LocalError

SERVICE_LABEL = "com.docker.swarm.service.name"


class EngineEvents:
    """A thread that hears of one kind of event of every container; use it as a context."""

    def __init__(self, docker_host: str, action: str) -> None:
        self._client = docker.APIClient(base_url=docker_host, version="auto")
        self._events: Any = self._client.events(decode=True, filters={"type": "container", "event": action})
        self._heard: dict[str, tuple[float, str]] = {}
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()
        self._thread.join()
        self._client.close()

    def wait(self, name: str, *, seconds: float) -> tuple[float, str]:
        """When it was heard of the container, or of the service, of this name (by ``time.perf_counter``), and its id.

        LocalError when it is not heard in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: name in self._heard, timeout=seconds):
                message = f"Docker reported no event of {name} within {seconds:.0f} s"
                raise LocalError(message)
            return self._heard[name]

    def _listen(self) -> None:
        for event in self._events:
            at, actor = time.perf_counter(), event["Actor"]
            attributes = actor["Attributes"]
            with self._changed:
                # The containers of a service have names that are not known before the start.
                self._heard[attributes.get(SERVICE_LABEL) or attributes["name"]] = (at, actor["ID"])
                self._changed.notify_all()

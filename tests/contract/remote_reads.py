"""A Docker port whose reads go through a worker, for the contract suite."""

import threading
from typing import Any

from runtimes.containers.base import DockerPort
from tasks.docker_reads import READS, answer
from tasks.remote_docker import RemoteDocker


class ReadsThroughWorker:
    """Reads as the web process does. The worker is a thread; the message does not pass through Celery."""

    def __init__(self, direct: DockerPort) -> None:
        self._direct = direct
        self._remote = RemoteDocker(self._send)

    def __getattr__(self, name: str) -> Any:
        is_read = name in READS or name in {"follow_logs", "time_limit"}
        return getattr(self._remote if is_read else self._direct, name)

    def close(self) -> None:
        """Close the connection to Redis."""
        self._remote.close()

    def _send(self, arguments: list[Any], _seconds: float) -> bool:
        threading.Thread(target=answer, args=[self._direct, *arguments], daemon=True).start()
        return True

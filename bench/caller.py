"""One caller of the API who keeps his connection. The plain client of the standard library: a richer one takes longer
than the service does.
"""

import json
import time
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from bench.ground import IMAGE, Ground
from deploy.local.system.errors import LocalError

_TIMEOUT_SECONDS = 60.0
_OK = 200


class Caller:
    """Belongs to one thread; use it as a context."""

    def __init__(self, ground: Ground) -> None:
        address = urlsplit(ground.url)
        self._connection = HTTPConnection(str(address.hostname), address.port, timeout=_TIMEOUT_SECONDS)
        self._path = address.path
        self._headers = {
            "Authorization": f"Bearer {ground.token}",
            "X-Galaxy-Caller": "gm",
            "Content-Type": "application/json",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def start(self, game_id: str) -> float:
        """Ask for a start and wait for the answer; returns the milliseconds. LocalError when it is no success."""
        began = time.perf_counter()
        self._ask("POST", f"/runtimes/{game_id}/start", {"image_ref": IMAGE})
        return (time.perf_counter() - began) * 1000

    def _ask(self, method: str, path: str, body: dict[str, Any]) -> None:
        self._connection.request(method, f"{self._path}{path}", json.dumps(body).encode(), self._headers)
        with closing(self._connection.getresponse()) as answer:
            text = answer.read()
            if answer.status != _OK:
                message = f"{method} {path} was answered with {answer.status}: {text.decode(errors='replace')[:300]}"
                raise LocalError(message)


def thirds(calls: Sequence[tuple[float, float]], *, seconds: float) -> list[list[float]]:
    """What calls took, as three lists by when they began: pairs of the second since the beginning, and the length."""
    parts: list[list[float]] = [[], [], []]
    for began, took in calls:
        parts[min(2, int(3 * began / seconds))].append(took)
    return parts

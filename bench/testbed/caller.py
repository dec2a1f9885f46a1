"""One caller of the API with a kept connection. The standard library's client: a richer one takes longer than RTM."""

import json
import time
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from bench.testbed.testbed import IMAGE, Testbed
from deploy.local.system.errors import LocalError

_TIMEOUT_SECONDS = 60.0
_OK = 200


class Caller:
    """Belongs to one thread; use it as a context."""

    def __init__(self, testbed: Testbed) -> None:
        address = urlsplit(testbed.url)
        self._connection = HTTPConnection(str(address.hostname), address.port, timeout=_TIMEOUT_SECONDS)
        self._path = address.path
        self._headers = {
            "Authorization": f"Bearer {testbed.token}",
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
        """Call start and wait for the response; return the milliseconds. Raises LocalError if it is no success."""
        began = time.perf_counter()
        self._call("POST", f"/runtimes/{game_id}/start", {"image_ref": IMAGE})
        return (time.perf_counter() - began) * 1000

    def _call(self, method: str, path: str, body: dict[str, Any]) -> None:
        self._connection.request(method, f"{self._path}{path}", json.dumps(body).encode(), self._headers)
        with closing(self._connection.getresponse()) as answer:
            text = answer.read()
            if answer.status != _OK:
                raise LocalError(f"{method} {path} returned {answer.status}: {text.decode(errors='replace')[:300]}")


def thirds(calls: Sequence[tuple[float, float]], *, seconds: float) -> list[list[float]]:
    """Sort calls by the third of the time in which they began. A call is its begin in seconds, and its length."""
    parts: list[list[float]] = [[], [], []]
    for began, took in calls:
        parts[min(2, int(3 * began / seconds))].append(took)
    return parts

"""Game Master in the storm: REST calls with an Idempotency-Key, repeated until a final response."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from tests.chaos.storm.script import Call

_RETRY_SECONDS = 0.4
_CALLERS = 4
_TIMEOUT_SECONDS = 15.0
_VERBS = {"restart": ("POST", "/restart"), "patch": ("POST", "/patch"), "cleanup": ("DELETE", "/container")}
# Not finished, or perhaps not received: repeat with the same key.
_RETRY_STATUSES = frozenset({202, 502, 503})


@dataclass(frozen=True, slots=True)
class CallResult:
    """The final response of a call. ``status`` 0: none."""

    call: Call
    status: int
    code: str


@dataclass(slots=True)
class Callers:
    """Runs a few callers in parallel; each retries its own call."""

    url: str
    is_stopping: Callable[[], bool]
    call_results: list[CallResult] = field(default_factory=list)
    repeats: int = 0
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_CALLERS, "caller"))

    def send(self, call: Call) -> None:
        """Return at once; the response is appended to ``call_results``."""
        self._pool.submit(self._call_until_final, call)

    def wait(self) -> None:
        """Wait until every call has a final response or was abandoned."""
        self._pool.shutdown(wait=True)

    def _call_until_final(self, call: Call) -> None:
        while not self.is_stopping():
            response = self._send(call)
            if response is not None and response.status_code not in _RETRY_STATUSES:
                self.call_results.append(CallResult(call, response.status_code, _code(response)))
                return
            self.repeats += 1
            time.sleep(_RETRY_SECONDS)
        self.call_results.append(CallResult(call, 0, ""))

    def _send(self, call: Call) -> httpx.Response | None:
        method, path = _VERBS[call.verb]
        headers = {"Idempotency-Key": call.key, "X-Request-ID": call.key, "X-Galaxy-Caller": "gm"}
        body = {"image_ref": call.image} if call.image else None
        address = f"{self.url}/api/v1/internal/runtimes/{call.game_id}{path}"
        try:
            return httpx.request(method, address, json=body, headers=headers, timeout=_TIMEOUT_SECONDS)
        except httpx.TransportError:
            return None


def _code(response: httpx.Response) -> str:
    """Return the error code of a response; other content as it is."""
    if response.is_success:
        return ""
    try:
        return str(response.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return f"(not an error of RTM: {response.text[:80]!r})"

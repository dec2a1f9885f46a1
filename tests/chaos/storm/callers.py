"""Game Master in the storm: calls over REST under an Idempotency-Key, and asks again until there is an answer."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from tests.chaos.storm.script import Call

_AGAIN_SECONDS = 0.4
_CALLERS = 4
_TIMEOUT_SECONDS = 15.0
_VERBS = {"restart": ("POST", "/restart"), "patch": ("POST", "/patch"), "cleanup": ("DELETE", "/container")}
# Not yet, or perhaps never arrived: the same key may be asked again.
_ASK_AGAIN = frozenset({202, 502, 503})


@dataclass(frozen=True, slots=True)
class Told:
    """What a caller was told in the end. ``status`` 0: nothing, ever."""

    call: Call
    status: int
    code: str


@dataclass(slots=True)
class Callers:
    """A few callers at a time; each call is retried by its own caller."""

    url: str
    gives_up: Callable[[], bool]
    told: list[Told] = field(default_factory=list)
    repeats: int = 0
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_CALLERS, "caller"))

    def send(self, call: Call) -> None:
        """Returns at once; the answer will be among ``told``."""
        self._pool.submit(self._ask_until_told, call)

    def wait(self) -> None:
        """Until every call is answered or given up."""
        self._pool.shutdown(wait=True)

    def _ask_until_told(self, call: Call) -> None:
        while not self.gives_up():
            answer = self._ask(call)
            if answer is not None and answer.status_code not in _ASK_AGAIN:
                self.told.append(Told(call, answer.status_code, _code(answer)))
                return
            self.repeats += 1
            time.sleep(_AGAIN_SECONDS)
        self.told.append(Told(call, 0, ""))

    def _ask(self, call: Call) -> httpx.Response | None:
        method, path = _VERBS[call.verb]
        headers = {"Idempotency-Key": call.key, "X-Request-ID": call.key, "X-Galaxy-Caller": "gm"}
        body = {"image_ref": call.image} if call.image else None
        address = f"{self.url}/api/v1/internal/runtimes/{call.game_id}{path}"
        try:
            return httpx.request(method, address, json=body, headers=headers, timeout=_TIMEOUT_SECONDS)
        except httpx.TransportError:
            return None


def _code(answer: httpx.Response) -> str:
    """Of an error in our envelope; whatever else came is shown as it is."""
    if answer.is_success:
        return ""
    try:
        return str(answer.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return f"(no error of ours: {answer.text[:80]!r})"

"""Reads a stream, and records the moment at which each entry arrives."""

import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import redis

from deploy.local.system.errors import LocalError

_BLOCK_MS = 500


@dataclass(frozen=True, slots=True)
class Arrival:
    """One entry; ``at`` by ``time.perf_counter``."""

    at: float
    fields: dict[str, str]

    @property
    def game_id(self) -> str:
        """The game of the entry."""
        return self.fields["game_id"]


class Listener:
    """A thread that reads one stream from its current end; use it as a context."""

    def __init__(self, url: str, stream: str) -> None:
        self._streams = redis.Redis.from_url(url, decode_responses=True)
        self._stream = stream
        self._arrivals: list[Arrival] = []
        self._changed = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._last = self._newest()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        self._thread.join()
        self._streams.close()

    def mark(self) -> int:
        """The current position; pass it as ``since`` to get what arrives later."""
        return len(self._arrivals)

    def wait(self, *, since: int, count: int, seconds: float) -> list[Arrival]:
        """The first ``count`` entries since the mark. Raises LocalError if they do not arrive in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._arrivals) >= since + count, timeout=seconds):
                came = len(self._arrivals) - since
                message = f"only {came} of {count} entries appeared in {self._stream} within {seconds:.0f} s"
                raise LocalError(message)
            return self._arrivals[since : since + count]

    def _read(self) -> None:
        while not self._ending:
            answer: Any = self._streams.xread({self._stream: self._last}, count=1000, block=_BLOCK_MS)
            at = time.perf_counter()
            entries = answer[0][1] if answer else []
            if entries:
                self._last = entries[-1][0]
                with self._changed:
                    self._arrivals += [Arrival(at, fields) for _entry_id, fields in entries]
                    self._changed.notify_all()

    def _newest(self) -> str:
        entries: Any = self._streams.xrevrange(self._stream, count=1)
        return str(entries[0][0]) if entries else "0"

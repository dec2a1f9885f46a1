"""Game Lobby in the storm: writes each job once, also if a connection breaks during a write."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rtmanager.config import Config
from tests.chaos.storm.script import InvalidEntry, Job

_RETRY_SECONDS = 0.1
# Readers ignore unknown fields. This one identifies an entry whose acknowledgement was lost.
TAG = "storm"
# Jobs of one game must not share a millisecond: their order on two streams would be undefined.
_MILLISECOND_SECONDS = 0.002


def connect(config: Config) -> "redis.Redis":
    """Return a client that does not retry."""
    return redis.Redis.from_url(
        config.streams_url, decode_responses=True, socket_timeout=3, retry=Retry(NoBackoff(), 0)
    )


@dataclass(slots=True)
class Lobby:
    """Sends jobs until the storm stops."""

    config: Config
    streams: "redis.Redis"
    is_stopping: Callable[[], bool]
    written: dict[int, Job | InvalidEntry] = field(default_factory=dict)

    def send(self, what: Job | InvalidEntry) -> None:
        """Write the entry exactly once, also if the server dies meanwhile."""
        tag = len(self.written) + 1
        self.written[tag] = what
        stream, fields = self._entry(what)
        tagged: dict[Any, Any] = {**fields, TAG: str(tag)}
        attempts = 0
        while not self.is_stopping():
            attempts += 1
            try:
                # After a lost connection the entry may exist: check before writing again.
                if attempts == 1 or not self._is_there(stream, tagged[TAG]):
                    self.streams.xadd(stream, tagged)
                time.sleep(_MILLISECOND_SECONDS)
            except redis.RedisError:
                time.sleep(_RETRY_SECONDS)
            else:
                return

    def _entry(self, what: Job | InvalidEntry) -> tuple[str, Mapping[str, str]]:
        if isinstance(what, InvalidEntry):
            return self.config.start_jobs_stream, what.fields
        fields = {"game_id": what.game_id, "requested_at_ms": str(time.time_ns() // 10**6)}
        if what.image:
            return self.config.start_jobs_stream, {**fields, "image_ref": what.image}
        return self.config.stop_jobs_stream, {**fields, "reason": what.reason}

    def _is_there(self, stream: str, tag: str) -> bool:
        last: Any = self.streams.xrevrange(stream, count=10)
        return any(fields.get(TAG) == tag for _id, fields in last)

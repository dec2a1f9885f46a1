"""Game Lobby in the storm: writes each job once, though it never knows whether a broken connection took it along."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rtmanager.config import Config
from tests.chaos.storm.script import BadEntry, Job

_AGAIN_SECONDS = 0.1
# Readers ignore fields that they do not know; by this one we find an entry whose acknowledgement was lost.
TAG = "storm"
# Jobs of one game must not share a millisecond, or their order on two streams would be nobody's.
_MILLISECOND_SECONDS = 0.002


def connect(config: Config) -> "redis.Redis":
    """A client that repeats nothing by itself."""
    return redis.Redis.from_url(
        config.streams_url, decode_responses=True, socket_timeout=3, retry=Retry(NoBackoff(), 0)
    )


@dataclass(slots=True)
class Lobby:
    """Sends until told to give up."""

    config: Config
    streams: "redis.Redis"
    gives_up: Callable[[], bool]
    written: dict[int, Job | BadEntry] = field(default_factory=dict)

    def send(self, what: Job | BadEntry) -> None:
        """Have the entry in its stream exactly once, however often the server dies meanwhile."""
        tag = len(self.written) + 1
        self.written[tag] = what
        stream, fields = self._entry(what)
        tagged: dict[Any, Any] = {**fields, TAG: str(tag)}
        attempts = 0
        while not self.gives_up():
            attempts += 1
            try:
                # After a broken connection the entry may be there or not: look before writing again.
                if attempts == 1 or not self._is_there(stream, tagged[TAG]):
                    self.streams.xadd(stream, tagged)
                time.sleep(_MILLISECOND_SECONDS)
            except redis.RedisError:
                time.sleep(_AGAIN_SECONDS)
            else:
                return

    def _entry(self, what: Job | BadEntry) -> tuple[str, Mapping[str, str]]:
        if isinstance(what, BadEntry):
            return self.config.start_jobs_stream, what.fields
        fields = {"game_id": what.game_id, "requested_at_ms": str(time.time_ns() // 10**6)}
        if what.image:
            return self.config.start_jobs_stream, {**fields, "image_ref": what.image}
        return self.config.stop_jobs_stream, {**fields, "reason": what.reason}

    def _is_there(self, stream: str, tag: str) -> bool:
        last: Any = self.streams.xrevrange(stream, count=10)
        return any(fields.get(TAG) == tag for _id, fields in last)

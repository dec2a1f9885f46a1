"""Replies to the reads that a worker performs for another process: one Redis list with one entry per read."""

import time
from functools import lru_cache
from typing import Any

import redis
from django.conf import settings

from runtimes.process import shutting_down
from tasks.streams.redis.client import connect, decode, translate_errors

# A reply that its reader has not taken by then is dropped.
_TTL_SECONDS = 30
# How soon a waiting reader notices that the process shuts down.
_SLICE_SECONDS = 1.0


class RedisReplies:
    """All threads of a process share one pool of connections: a read is too small for a connection of its own."""

    def __init__(self) -> None:
        self._client = _client(settings.RTMANAGER.streams_url)

    def send(self, read_id: str, text: str) -> None:
        """Send the reply. Raises StreamsUnavailableError or StreamRefusedError."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.rpush(_key(read_id), text)
        pipeline.expire(_key(read_id), _TTL_SECONDS)
        with translate_errors("send a reply", self._client):
            pipeline.execute()

    def wait(self, read_id: str, *, seconds: float) -> str | None:
        """Return the reply; None if the time is over or the process shuts down. Raises as ``send``."""
        deadline = time.monotonic() + seconds
        with translate_errors("wait for a reply", self._client):
            while not shutting_down.is_set() and (left := deadline - time.monotonic()) > 0:
                received: Any = self._client.blpop([_key(read_id)], timeout=min(left, _SLICE_SECONDS))
                if received:
                    return decode(received[1])
        return None


@lru_cache(maxsize=1)
def _client(url: str) -> redis.Redis:
    return connect(url)


def _key(read_id: str) -> str:
    return f"rtm:{settings.RTMANAGER.stack}:read:{read_id}"

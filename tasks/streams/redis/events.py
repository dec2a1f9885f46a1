"""The streams that RTM writes, each event exactly once."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from operations.outbox import DEDUPE_KEPT
from tasks.streams.base import Publication, StreamRefusedError, StreamsUnavailableError
from tasks.streams.redis.client import connect, decode, translate_errors

_MARKER_TTL_SECONDS = int(DEDUPE_KEPT.total_seconds())

# One script writes the entry and its marker. A server that loses its last writes loses both or neither,
# so publishing again is right in both cases.
_PUBLISH_ONCE = """
local published = redis.call('GET', KEYS[2])
if published then return published end
local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
redis.call('SET', KEYS[2], id, 'EX', ARGV[1])
return id
"""


class RedisEventStreams:
    """The event streams on one connection."""

    def __init__(self, url: str) -> None:
        self._relies_on_last_ids = False
        self._client = connect(url, redis_connect_func=self._on_connect)

    def _on_connect(self, connection: Any) -> None:
        """Refuse one connection after a break: redis-py reconnects silently when it finds the old one closed."""
        connection.on_connect()
        if self._relies_on_last_ids:
            message = "the connection broke; the server may hold other data now"
            raise redis.ConnectionError(message)

    @contextmanager
    def _call(self, doing: str) -> Iterator[None]:
        """Translate errors; after an unavailable server, accept the next new connection."""
        try:
            with translate_errors(doing, self._client):
                yield
        except StreamRefusedError:
            raise
        except StreamsUnavailableError:
            self._relies_on_last_ids = False
            raise

    def publish_once(self, publications: Sequence[Publication]) -> list[str]:
        # One transaction: a server that starts or stops refusing in the middle of a batch would change the order.
        pipeline = self._client.pipeline(transaction=True)
        for publication in publications:
            flat = [part for pair in publication.fields.items() for part in pair]
            marker = _marker(publication.stream, publication.dedupe_key)
            pipeline.eval(_PUBLISH_ONCE, 2, publication.stream, marker, _MARKER_TTL_SECONDS, *flat)
        with self._call("publishing events"):
            # Errors are raised below: the text of redis-py would hold the whole script but not the stream's name.
            responses = pipeline.execute(raise_on_error=False)
        for publication, response in zip(publications, responses, strict=True):
            with self._call(f"publishing to {publication.stream}"):
                if isinstance(response, redis.RedisError):
                    raise response
        return [decode(entry_id) for entry_id in responses]

    def published(self, stream: str, dedupe_keys: Sequence[str]) -> dict[str, Mapping[str, str] | None]:
        if not dedupe_keys:
            return {}
        with self._call(f"reading {stream}"):
            markers: Any = self._client.mget([_marker(stream, key) for key in dedupe_keys])
            entry_ids = {key: decode(entry_id) for key, entry_id in zip(dedupe_keys, markers, strict=True) if entry_id}
            pipeline = self._client.pipeline(transaction=False)
            for entry_id in entry_ids.values():
                pipeline.xrange(stream, min=entry_id, max=entry_id)
            found = pipeline.execute()
        return {
            key: {decode(name): decode(value) for name, value in entries[0][1].items()} if entries else None
            for key, entries in zip(entry_ids, found, strict=True)
        }

    def last_entry_id(self, stream: str) -> str:
        with self._call(f"inspecting {stream}"):
            try:
                info = self._client.xinfo_stream(stream)
            except redis.ResponseError as error:
                if "no such key" not in str(error):
                    raise
                info = {"last-generated-id": b"0-0"}
        self._relies_on_last_ids = True
        return decode(info["last-generated-id"])


def _marker(stream: str, dedupe_key: str) -> str:
    """Return the key of the marker of a published event."""
    return f"rtm:published:{stream}:{dedupe_key}"

"""What the contract of the streams is tried on: one site in memory, one on a real Redis."""

import socket
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import redis

from operations.messages import StreamEntry
from tasks.streams.base import EventStreams, JobStreams, Publication
from tasks.streams.fake import FakeEventStreams, FakeJobStreams, FakeStreamServer
from tasks.streams.redis.events import RedisEventStreams
from tasks.streams.redis.jobs import RedisJobStreams
from tests.servers.wire import Wire

START, STOP = NAMES = ("start_jobs", "stop_jobs")
RESULTS, HEALTH = "job_results", "health_events"
# More than two pages of anything the adapter reads page by page.
MANY = 450


class Site(Protocol):
    """A server with its streams, as its other users and its operators see it."""

    def jobs(self, *, reader: str = "") -> JobStreams: ...
    def events(self) -> EventStreams: ...
    def produce(self, stream: str, **fields: str) -> str: ...
    def produce_as(self, entry_id: str, stream: str) -> None: ...
    def produce_many(self, stream: str, *, count: int) -> list[str]: ...
    def delete(self, stream: str, *entry_ids: str) -> None: ...
    def entries(self, stream: str) -> dict[str, Mapping[str, str]]: ...
    def flush(self) -> None: ...
    def be_away(self, *, away: bool) -> None: ...
    def restart(self) -> None: ...
    def lose_replies(self, *, lose: bool) -> None: ...


class FakeSite:
    """Everything in memory."""

    def __init__(self) -> None:
        self.server = FakeStreamServer()

    def jobs(self, *, reader: str = "") -> JobStreams:
        return FakeJobStreams(self.server, names=NAMES, reader=reader)

    def events(self) -> EventStreams:
        return FakeEventStreams(self.server)

    def produce(self, stream: str, **fields: str) -> str:
        return self.server.add(stream, fields)

    def produce_as(self, entry_id: str, stream: str) -> None:
        self.server.add(stream, {"n": entry_id}, entry_id=entry_id)

    def produce_many(self, stream: str, *, count: int) -> list[str]:
        return [self.server.add(stream, {"n": str(number)}) for number in range(count)]

    def delete(self, stream: str, *entry_ids: str) -> None:
        self.server.delete(stream, *entry_ids)

    def entries(self, stream: str) -> dict[str, Mapping[str, str]]:
        return dict(self.server.streams[stream])

    def flush(self) -> None:
        self.server.flush()

    def be_away(self, *, away: bool) -> None:
        self.server.is_unavailable = away

    def restart(self) -> None:
        self.server.restart()

    def lose_replies(self, *, lose: bool) -> None:
        self.server.loses_replies = lose


class RedisSite:
    """A real server; the adapters reach it over a wire that tests may damage, the outside reaches it directly."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        # Untyped on purpose: redis-py cannot say in types that answers come decoded.
        self.client: Any = redis.Redis.from_url(url, decode_responses=True)
        self.wire = Wire((socket.gethostbyname(parts.hostname or ""), parts.port or 6379))
        self.url = f"redis://127.0.0.1:{self.wire.port}{parts.path}"

    def jobs(self, *, reader: str = "") -> JobStreams:
        return RedisJobStreams(self.url, names=NAMES, identify=lambda: reader)

    def events(self) -> EventStreams:
        return RedisEventStreams(self.url)

    def produce(self, stream: str, **fields: str) -> str:
        return str(self.client.xadd(stream, fields))

    def produce_as(self, entry_id: str, stream: str) -> None:
        self.client.xadd(stream, {"n": entry_id}, id=entry_id)

    def produce_many(self, stream: str, *, count: int) -> list[str]:
        pipeline = self.client.pipeline()
        for number in range(count):
            pipeline.xadd(stream, {"n": str(number)})
        return [str(entry_id) for entry_id in pipeline.execute()]

    def delete(self, stream: str, *entry_ids: str) -> None:
        self.client.xdel(stream, *entry_ids)

    def entries(self, stream: str) -> dict[str, Mapping[str, str]]:
        return dict(self.client.xrange(stream))

    def flush(self) -> None:
        self.client.flushall()

    def be_away(self, *, away: bool) -> None:
        if away:
            self.wire.cut()
        else:
            self.wire.repair()

    def restart(self) -> None:
        self.wire.cut()
        self.wire.repair()

    def lose_replies(self, *, lose: bool) -> None:
        self.wire.swallows_answers = lose

    def close(self) -> None:
        self.wire.cut()
        self.client.close()


def ready(jobs: JobStreams) -> JobStreams:
    jobs.ensure_group()
    return jobs


def ids(entries: Sequence[StreamEntry], stream: str | None = None) -> list[str]:
    return [entry.entry_id for entry in entries if stream in {None, entry.stream}]


def results(*keys: str, stream: str = RESULTS) -> list[Publication]:
    return [Publication(stream, key, {"game_id": key, "outcome": "success", "error_code": ""}) for key in keys]

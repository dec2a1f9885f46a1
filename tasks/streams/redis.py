"""The streams on a real Redis or Valkey (6.2 commands only). The only module that imports redis."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import redis
import structlog
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from operations.vitals import Backlog
from tasks.streams.base import (
    Delivery,
    Publication,
    StreamEntry,
    StreamRefusedError,
    StreamServer,
    StreamsUnavailableError,
    Unacknowledged,
    parse_entry_id,
)

log = structlog.get_logger(__name__)

GROUP = "rtmanager"
# A fixed name: whichever process reads next inherits what the last one left unacknowledged.
CONSUMER = "bridge"
_FOREIGN_IDLE_MS = 60_000
_PAGE = 200
_COUNTED_AT_MOST = 1000
# Far longer than any outage after which an event would still be published again.
_MARKER_TTL_SECONDS = 7 * 24 * 3600
_REPLY_TTL_SECONDS = 60

# Entry and marker are written by one script, so a server that loses its tail loses both or neither,
# and publishing again is right in either case.
_PUBLISH_ONCE = """
local published = redis.call('GET', KEYS[2])
if published then return published end
local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
redis.call('SET', KEYS[2], id, 'EX', ARGV[1])
return id
"""


@contextmanager
def _unavailable(doing: str) -> Iterator[None]:
    try:
        yield
    except redis.ResponseError as error:
        # A key of another type, a full or read-only server: for a person to mend, so the loops keep trying.
        message = f"Redis refuses ({doing}): {error}"
        raise StreamRefusedError(message) from error
    except redis.RedisError as error:
        message = f"Redis does not answer ({doing}): {error}"
        raise StreamsUnavailableError(message) from error


def connect(url: str, **options: Any) -> redis.Redis:
    """A client that reports trouble instead of hiding it; ``options`` are redis-py's for its connections.

    redis-py repeats a command whose reply got lost, up to ten times by default; for XADD that means two entries.
    """
    return redis.Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=5,
        socket_connect_timeout=2,
        health_check_interval=15,
        decode_responses=False,
        **options,
    )


def describe_server(url: str, *, names: Sequence[str]) -> StreamServer:
    """What the server says of itself, and which of these job streams have no consumer group of ours yet.

    Raises StreamsUnavailableError.
    """
    with _unavailable("describing itself"), connect(url) as client:
        told = client.info()
        seconds, microseconds = client.time()
        return StreamServer(
            # Valkey says redis_version too, for those who ask nobody else.
            name="Valkey" if "valkey_version" in told else "Redis",
            version=str(told.get("valkey_version", told["redis_version"])),
            role=told["role"],
            appends_to_file=bool(told["aof_enabled"]),
            max_memory_bytes=int(told["maxmemory"]),
            eviction=told["maxmemory_policy"],
            now=datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds),
            streams_without_group=[name for name in names if not _has_group(client, name)],
        )


def _has_group(client: redis.Redis, name: str) -> bool:
    try:
        return any(_text(group["name"]) == GROUP for group in client.xinfo_groups(name))
    except redis.ResponseError as error:
        if "no such key" not in str(error):
            raise
        return False


class RedisJobStreams:
    """The job streams behind one consumer group."""

    def __init__(self, url: str, *, names: Sequence[str], foreign_idle_ms: int = _FOREIGN_IDLE_MS) -> None:
        self._client = connect(url)
        self.names = tuple(names)
        self._foreign_idle_ms = foreign_idle_ms
        self._had_group = False

    def ensure_group(self) -> None:
        """See JobStreams."""
        made = [name for name in self.names if self._make_group(name)]
        if made and self._had_group:
            log.warning("consumer_group_recreated", streams=made)
        self._had_group = True

    def _make_group(self, name: str) -> bool:
        with _unavailable(f"making the consumer group of {name}"):
            try:
                self._client.xgroup_create(name, GROUP, id="0", mkstream=True)
            except redis.ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
                return False
        return True

    def pending(self) -> list[StreamEntry]:
        """See JobStreams."""
        entries: list[StreamEntry] = []
        for name in self.names:
            with _unavailable(f"reading pending jobs of {name}"):
                found = [*self._take_over_foreign(name), *self._own_pending(name)]
                entries.extend(sorted(found, key=lambda one: one.order))
        return entries

    def _take_over_foreign(self, name: str) -> Iterator[StreamEntry]:
        """Claim what others left; gives the tombstones that the server struck off the list meanwhile."""
        cursor: Any = b"0-0"
        while True:
            answer = self._client.xautoclaim(
                name, GROUP, CONSUMER, min_idle_time=self._foreign_idle_ms, start_id=cursor, count=_PAGE, justid=False
            )
            cursor, _claimed, *struck_off = answer
            # From Redis 7 on this is the only place that tells of them; 6.2 leaves them among our own.
            for entry_id in struck_off[0] if struck_off else []:
                yield StreamEntry(name, _text(entry_id), None)
            if cursor == b"0-0":
                return

    def _own_pending(self, name: str) -> Iterator[StreamEntry]:
        after = "0"
        while True:
            answer = self._client.xreadgroup(GROUP, CONSUMER, {name: after}, count=_PAGE)
            page = _entries(answer)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].entry_id

    def read_new(self, *, count: int, block_ms: int) -> Delivery:
        """See JobStreams."""
        with _unavailable(f"reading jobs of {' and '.join(self.names)}"):
            try:
                answer, *summaries = self._look(count=count, block_ms=block_ms)
            except redis.ResponseError as error:
                # The second is what a read that waits is told when the stream goes away under it.
                if not any(word in str(error) for word in ("NOGROUP", "UNBLOCKED")):
                    raise
                # The server came back without its data: begin again; what is on record already is not done twice.
                self.ensure_group()
                # Looked again: an empty answer unseen would say that no stream holds anything older.
                answer, *summaries = self._look(count=count, block_ms=block_ms)
        return Delivery(_entries(answer), _unacknowledged(summaries))

    def _look(self, *, count: int, block_ms: int) -> list[Any]:
        # In one trip: what comes behind a read that waits is answered when it has ended.
        pipeline = self._client.pipeline(transaction=False)
        pipeline.xreadgroup(GROUP, CONSUMER, dict.fromkeys(self.names, ">"), count=count, block=block_ms or None)
        for name in self.names:
            pipeline.xpending(name, GROUP)
        return pipeline.execute()

    def acknowledge(self, entries: Sequence[StreamEntry]) -> None:
        """See JobStreams."""
        with _unavailable(f"acknowledging jobs of {' and '.join(self.names)}"):
            pipeline = self._client.pipeline(transaction=False)
            for name in self.names:
                ids = [entry.entry_id for entry in entries if entry.stream == name]
                if ids:
                    pipeline.xack(name, GROUP, *ids)
            pipeline.execute()

    def backlogs(self) -> dict[str, Backlog]:
        """See JobStreams."""
        with _unavailable(f"looking at {' and '.join(self.names)}"):
            seconds, microseconds = self._client.time()
            return {name: self._backlog(name, now_ms=seconds * 1000 + microseconds // 1000) for name in self.names}

    def _backlog(self, name: str, *, now_ms: int) -> Backlog:
        group = self._group(name)
        delivered = _text(group["last-delivered-id"])
        lag = self._lag(name, group, delivered=delivered)
        waiting = [self._client.xpending(name, GROUP)["min"]] if group["pending"] else []
        if lag:
            waiting += self._undelivered(name, after=delivered, count=1)
        # None where somebody has acknowledged everything meanwhile.
        oldest_ms = min((parse_entry_id(_text(entry_id))[0] for entry_id in waiting if entry_id), default=now_ms)
        return Backlog(lag, group["pending"], max(0, now_ms - oldest_ms) / 1000)

    def _group(self, name: str) -> Mapping[str, Any]:
        """What the server says of our group; where it knows none, a bridge would begin with the oldest entry."""
        try:
            groups = self._client.xinfo_groups(name)
        except redis.ResponseError as error:
            if "no such key" not in str(error):
                raise
            groups = []
        named = (group for group in groups if _text(group["name"]) == GROUP)
        return next(named, {"pending": 0, "last-delivered-id": b"0-0"})

    def _lag(self, name: str, group: Mapping[str, Any], *, delivered: str) -> int:
        # Told from Redis 7 on, and even there not when entries were deleted in between.
        told = group.get("lag")
        if told is not None:
            return int(told)
        return len(self._undelivered(name, after=delivered, count=_COUNTED_AT_MOST))

    def _undelivered(self, name: str, *, after: str, count: int) -> list[bytes]:
        answer: Any = self._client.xrange(name, min=f"({after}", count=count)
        return [entry_id for entry_id, _fields in answer]


def _unacknowledged(summaries: Sequence[Any]) -> Unacknowledged:
    """Of the answers to XPENDING, one for each stream."""
    ours = sum(
        one["pending"] for summary in summaries for one in summary["consumers"] if _text(one["name"]) == CONSUMER
    )
    return Unacknowledged(ours, sum(summary["pending"] for summary in summaries) - ours)


def _entries(answer: Any) -> list[StreamEntry]:
    return [
        # No entry is without fields: redis-py gives an empty dict for one whose content is gone.
        StreamEntry(_text(name), _text(entry_id), _fields(fields) if fields else None)
        for name, entries in answer or []
        for entry_id, fields in entries
    ]


def _fields(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {_text(key): _text(value) for key, value in fields.items()}


def _text(raw: bytes) -> str:
    # Undecodable bytes become visible escapes; the parser refuses them as what they are not: text of ours.
    return raw.decode("utf-8", errors="backslashreplace")


class RedisEventStreams:
    """The streams RTM writes."""

    def __init__(self, url: str) -> None:
        self._relies_on_last_ids = False
        self._client = connect(url, redis_connect_func=self._on_connect)

    def _on_connect(self, connection: Any) -> None:
        """redis-py makes a new connection without a word where it finds the old one closed."""
        connection.on_connect()
        if self._relies_on_last_ids:
            message = "the connection broke; what the server holds may have changed"
            raise redis.ConnectionError(message)

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        try:
            with _unavailable(doing):
                yield
        except StreamRefusedError:
            raise
        except StreamsUnavailableError:
            self._relies_on_last_ids = False
            raise

    def publish_once(self, publications: Sequence[Publication]) -> list[str]:
        """See EventStreams."""
        # One transaction: a server that begins to refuse, or ceases to, in the middle of a batch would turn its order.
        pipeline = self._client.pipeline(transaction=True)
        for one in publications:
            flat = [part for pair in one.fields.items() for part in pair]
            marker = f"rtm:published:{one.stream}:{one.dedupe_key}"
            pipeline.eval(_PUBLISH_ONCE, 2, one.stream, marker, _MARKER_TTL_SECONDS, *flat)
        with self._told("publishing events"):
            # Not raised there: redis-py's text would be the whole script and not the name of the stream.
            answers = pipeline.execute(raise_on_error=False)
        for one, answer in zip(publications, answers, strict=True):
            with _unavailable(f"publishing to {one.stream}"):
                if isinstance(answer, redis.RedisError):
                    raise answer
        return [_text(entry_id) for entry_id in answers]

    def last_entry_id(self, stream: str) -> str:
        """See EventStreams."""
        with self._told(f"looking at {stream}"):
            try:
                info = self._client.xinfo_stream(stream)
            except redis.ResponseError as error:
                if "no such key" not in str(error):
                    raise
                info = {"last-generated-id": b"0-0"}
        self._relies_on_last_ids = True
        return _text(info["last-generated-id"])


class RedisReplies:
    """Wake-ups as one-entry streams: reading one takes nothing away, so waiters may come late or come again."""

    _local = threading.local()

    def ping(self) -> None:
        """See operations.replies.Replies."""
        with _unavailable("ping"):
            self._client().ping()

    def announce(self, operation_id: int) -> None:
        """See operations.replies.Replies."""
        key = self._key(operation_id)
        pipeline = self._client().pipeline(transaction=False)
        pipeline.xadd(key, {"finished": "1"}, maxlen=1, approximate=False)
        pipeline.expire(key, _REPLY_TTL_SECONDS)
        try:
            pipeline.execute()
        except redis.RedisError as error:
            log.warning("reply_not_announced", operation_id=operation_id, error=str(error))

    def wait(self, operation_id: int, *, timeout_seconds: float) -> None:
        """See operations.replies.Replies."""
        try:
            self._client().xread({self._key(operation_id): "0"}, count=1, block=max(1, int(timeout_seconds * 1000)))
        except redis.RedisError:
            # No wake-up to be had: wait here instead, so that the caller's next look at the row is not a busy loop.
            threading.Event().wait(min(timeout_seconds, 0.25))

    @staticmethod
    def _key(operation_id: int) -> str:
        return f"rtm:{settings.RTMANAGER.stack}:reply:{operation_id}"

    @classmethod
    def _client(cls) -> redis.Redis:
        url = settings.RTMANAGER.streams_url
        if getattr(cls._local, "url", None) != url:
            cls._local.client = connect(url)
            cls._local.url = url
        client: redis.Redis = cls._local.client
        return client

"""The job streams, read through one consumer group."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import redis
import structlog

from operations.messages import FieldValue, StreamEntry, parse_entry_id
from operations.monitoring.component_status import StreamBacklog
from tasks.streams.base import ReadResult, check_owner
from tasks.streams.redis.client import GROUP, connect, decode, find_group, owner_key, translate_errors

log = structlog.get_logger(__name__)

# A fixed name: the next bridge inherits what the previous one did not acknowledge.
CONSUMER = "bridge"
_STALE_AFTER_MS = 60_000
_PAGE = 200
_MAX_COUNTED_LAG = 1000

# The id of an entry, and its names and values in turns; no names for a deleted entry.
RawEntry = tuple[bytes, Sequence[bytes] | None]


class RedisJobStreams:
    """The job streams behind one consumer group."""

    def __init__(
        self,
        url: str,
        *,
        names: Sequence[str],
        identify: Callable[[], str] = lambda: "",
        stale_after_ms: int = _STALE_AFTER_MS,
    ) -> None:
        """``identify`` returns the installation that reads; it is called once, before the first read."""
        self._client = connect(url)
        # By default redis-py makes a dict of the fields of an entry, which hides repeated fields.
        self._client.set_response_callback("XREADGROUP", _raw_streams)
        self._client.set_response_callback("XRANGE", _raw_entries)
        self.names = tuple(names)
        self._identify = identify
        self._reader = ""
        self._stale_after_ms = stale_after_ms
        self._had_group = False

    def ensure_group(self) -> None:
        self._claim_streams(nx=True)
        created = [name for name in self.names if self._create_group(name)]
        if created and self._had_group:
            log.warning("consumer_group_recreated", streams=created)
        self._had_group = True

    def take_over(self) -> None:
        self._claim_streams(nx=False)

    def _claim_streams(self, *, nx: bool) -> None:
        self._reader = self._reader or self._identify()
        with translate_errors(f"claiming {' and '.join(self.names)}", self._client):
            pipeline = self._client.pipeline(transaction=False)
            for name in self.names:
                pipeline.set(owner_key(name), self._reader, nx=nx)
            pipeline.mget([owner_key(name) for name in self.names])
            owners = pipeline.execute()[-1]
        self._check_owners(owners)

    def _check_owners(self, owners: Sequence[bytes | None]) -> None:
        for name, owner in zip(self.names, owners, strict=True):
            # A server that lost its data knows no owner; the group is missing then, too.
            if owner is not None:
                check_owner(name, owner=decode(owner), reader=self._reader)

    def _create_group(self, name: str) -> bool:
        with translate_errors(f"creating the consumer group of {name}", self._client):
            try:
                self._client.xgroup_create(name, GROUP, id="0", mkstream=True)
            except redis.ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
                return False
        return True

    def pending(self) -> list[StreamEntry]:
        entries: list[StreamEntry] = []
        for name in self.names:
            with translate_errors(f"reading pending jobs of {name}", self._client):
                pending = [*self._claim_stale(name), *self._own_pending(name)]
                entries.extend(sorted(pending, key=lambda entry: entry.order))
        return entries

    def _claim_stale(self, name: str) -> Iterator[StreamEntry]:
        """Claim what other consumers left; yield tombstones for deleted entries that the server dropped meanwhile.

        For claimed entries, Redis forgets when they were delivered before.
        """
        cursor: Any = b"0-0"
        while True:
            response = self._client.xautoclaim(
                name, GROUP, CONSUMER, min_idle_time=self._stale_after_ms, start_id=cursor, count=_PAGE, justid=False
            )
            cursor, _claimed, *dropped = response
            # Since Redis 7 only this response names them; Redis 6.2 leaves them in our own pending list.
            for entry_id in dropped[0] if dropped else []:
                yield StreamEntry(name, decode(entry_id), None)
            if cursor == b"0-0":
                return

    def _own_pending(self, name: str) -> Iterator[StreamEntry]:
        first = "-"
        while True:
            pipeline = self._client.pipeline(transaction=False)
            pipeline.xpending_range(name, GROUP, first, "+", _PAGE, CONSUMER)
            pipeline.time()
            page, now = pipeline.execute()
            # XREADGROUP could return these entries, but would overwrite when they were delivered.
            for one in page:
                pipeline.xrange(name, one["message_id"], one["message_id"])
            for one, found in zip(page, pipeline.execute(), strict=True):
                delivered_ms = _milliseconds(now) - one["time_since_delivered"]
                fields = found[0][1] if found else None
                yield _entry(name, one["message_id"], fields, delivered_ms=delivered_ms)
            if len(page) < _PAGE:
                return
            first = f"({decode(page[-1]['message_id'])}"

    def read_new(self, *, count: int, block_ms: int) -> ReadResult:
        with translate_errors(f"reading jobs of {' and '.join(self.names)}", self._client):
            try:
                response, *summaries, now, owners = self._read(count=count, block_ms=block_ms)
            except redis.ResponseError as error:
                # A blocked read gets UNBLOCKED when its stream is deleted.
                if not any(code in str(error) for code in ("NOGROUP", "UNBLOCKED")):
                    raise
                # The server lost its data. Start over: recorded jobs are not accepted twice.
                self.ensure_group()
                # Read again: an empty result would claim that no stream holds an older entry.
                response, *summaries, now, owners = self._read(count=count, block_ms=block_ms)
        self._check_owners(owners)
        now_ms = _milliseconds(now)
        entries = [
            _entry(name, entry_id, fields, delivered_ms=now_ms)
            for name, found in response
            for entry_id, fields in found
        ]
        consumers = [consumer for summary in summaries for consumer in summary["consumers"]]
        ours = sum(consumer["pending"] for consumer in consumers if decode(consumer["name"]) == CONSUMER)
        of_others = sum(summary["pending"] for summary in summaries) - ours
        return ReadResult(entries, ours, of_others, now_ms)

    def _read(self, *, count: int, block_ms: int) -> list[Any]:
        # One round trip: the server runs the other commands after the blocked read has ended.
        pipeline = self._client.pipeline(transaction=False)
        pipeline.xreadgroup(GROUP, CONSUMER, dict.fromkeys(self.names, ">"), count=count, block=block_ms or None)
        for name in self.names:
            pipeline.xpending(name, GROUP)
        pipeline.time()
        # Last: an installation that took over while this read waited must get the entries.
        pipeline.mget([owner_key(name) for name in self.names])
        return pipeline.execute()

    def acknowledge(self, entries: Sequence[StreamEntry]) -> None:
        with translate_errors(f"acknowledging jobs of {' and '.join(self.names)}", self._client):
            pipeline = self._client.pipeline(transaction=False)
            for name in self.names:
                ids = [entry.entry_id for entry in entries if entry.stream == name]
                if ids:
                    pipeline.xack(name, GROUP, *ids)
            pipeline.execute()

    def delivered_after(self, name: str, entry_id: str) -> list[StreamEntry]:
        with translate_errors(f"reading {name}", self._client):
            last, entries, after = self._last_delivered(name), [], entry_id
            while page := self._page(name, after=after, last=last):
                entries += page
                after = page[-1].entry_id
            return entries

    def _page(self, name: str, *, after: str, last: str) -> list[StreamEntry]:
        response: Any = self._client.xrange(name, min=f"({after}", max=last, count=_PAGE)
        return [_entry(name, entry_id, fields, delivered_ms=0) for entry_id, fields in response]

    def deliver_again(self, name: str, entry_id: str) -> None:
        with translate_errors(f"setting the position of the consumer group of {name}", self._client):
            if parse_entry_id(self._last_delivered(name)) > parse_entry_id(entry_id):
                self._client.xgroup_setid(name, GROUP, entry_id)

    def _last_delivered(self, name: str) -> str:
        group = find_group(self._client, name)
        return decode(group["last-delivered-id"]) if group else "0-0"

    def backlogs(self) -> dict[str, StreamBacklog]:
        with translate_errors(f"measuring {' and '.join(self.names)}", self._client):
            now_ms = _milliseconds(self._client.time())
            return {name: self._backlog(name, now_ms=now_ms) for name in self.names}

    def _backlog(self, name: str, *, now_ms: int) -> StreamBacklog:
        # Without a group, the bridge would start with the oldest entry.
        group = find_group(self._client, name) or {"pending": 0, "last-delivered-id": b"0-0"}
        delivered = decode(group["last-delivered-id"])
        lag = self._lag(name, group, delivered=delivered)
        waiting = [self._client.xpending(name, GROUP)["min"]] if group["pending"] else []
        if lag:
            waiting += self._undelivered(name, after=delivered, count=1)
        # An id is None if the bridge acknowledged everything in the meantime.
        oldest_ms = min((parse_entry_id(decode(entry_id))[0] for entry_id in waiting if entry_id), default=now_ms)
        return StreamBacklog(lag, group["pending"], max(0, now_ms - oldest_ms) / 1000)

    def _lag(self, name: str, group: Mapping[str, Any], *, delivered: str) -> int:
        # Redis reports the lag since version 7, but not if entries in between were deleted.
        lag = group.get("lag")
        if lag is not None:
            return int(lag)
        return len(self._undelivered(name, after=delivered, count=_MAX_COUNTED_LAG))

    def _undelivered(self, name: str, *, after: str, count: int) -> list[bytes]:
        response: Any = self._client.xrange(name, min=f"({after}", count=count)
        return [entry_id for entry_id, _fields in response]


def _raw_streams(response: Any, **_options: Any) -> Iterable[tuple[bytes, Sequence[RawEntry]]]:
    """The response of XREADGROUP without the conversions of redis-py: protocol 3 has a map, protocol 2 a list."""
    return (response.items() if isinstance(response, Mapping) else response) or ()


def _raw_entries(response: Any, **_options: Any) -> Sequence[RawEntry]:
    return response or ()


def _entry(name: bytes | str, entry_id: bytes, fields: Sequence[bytes] | None, *, delivered_ms: int) -> StreamEntry:
    return StreamEntry(
        name if isinstance(name, str) else decode(name),
        decode(entry_id),
        # Every entry has fields: Redis returns none for a deleted one.
        _fields(fields) if fields else None,
        delivered_ms,
    )


def _fields(flat: Sequence[bytes]) -> dict[str, FieldValue]:
    values: dict[str, list[str]] = {}
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        values.setdefault(decode(name), []).append(decode(value))
    return {name: found if len(found) > 1 else found[0] for name, found in values.items()}


def _milliseconds(now: tuple[int, int]) -> int:
    seconds, microseconds = now
    return seconds * 1000 + microseconds // 1000

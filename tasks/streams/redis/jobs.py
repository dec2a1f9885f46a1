"""The job streams, read through one consumer group."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import redis
import structlog

from operations.messages import StreamEntry, parse_entry_id
from operations.monitoring.component_status import StreamBacklog
from tasks.streams.base import ReadResult, check_owner
from tasks.streams.redis.client import GROUP, connect, decode, find_group, owner_key, translate_errors

log = structlog.get_logger(__name__)

# A fixed name: the next bridge inherits what the previous one did not acknowledge.
CONSUMER = "bridge"
_STALE_AFTER_MS = 60_000
_PAGE = 200
_MAX_COUNTED_LAG = 1000


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
        """Claim what other consumers left; yield tombstones for deleted entries that the server dropped meanwhile."""
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
        after = "0"
        while True:
            response = self._client.xreadgroup(GROUP, CONSUMER, {name: after}, count=_PAGE)
            page = _entries(response)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].entry_id

    def read_new(self, *, count: int, block_ms: int) -> ReadResult:
        with translate_errors(f"reading jobs of {' and '.join(self.names)}", self._client):
            try:
                response, *summaries, owners = self._read(count=count, block_ms=block_ms)
            except redis.ResponseError as error:
                # A blocked read gets UNBLOCKED when its stream is deleted.
                if not any(code in str(error) for code in ("NOGROUP", "UNBLOCKED")):
                    raise
                # The server lost its data. Start over: recorded jobs are not accepted twice.
                self.ensure_group()
                # Read again: an empty result would claim that no stream holds an older entry.
                response, *summaries, owners = self._read(count=count, block_ms=block_ms)
        self._check_owners(owners)
        consumers = [consumer for summary in summaries for consumer in summary["consumers"]]
        ours = sum(consumer["pending"] for consumer in consumers if decode(consumer["name"]) == CONSUMER)
        return ReadResult(_entries(response), ours, sum(summary["pending"] for summary in summaries) - ours)

    def _read(self, *, count: int, block_ms: int) -> list[Any]:
        # One round trip: the server runs XPENDING after the blocked read has ended.
        pipeline = self._client.pipeline(transaction=False)
        pipeline.xreadgroup(GROUP, CONSUMER, dict.fromkeys(self.names, ">"), count=count, block=block_ms or None)
        for name in self.names:
            pipeline.xpending(name, GROUP)
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
        return _entries([(name.encode(), response)])

    def deliver_again(self, name: str, entry_id: str) -> None:
        with translate_errors(f"setting the position of the consumer group of {name}", self._client):
            if parse_entry_id(self._last_delivered(name)) > parse_entry_id(entry_id):
                self._client.xgroup_setid(name, GROUP, entry_id)

    def _last_delivered(self, name: str) -> str:
        group = find_group(self._client, name)
        return decode(group["last-delivered-id"]) if group else "0-0"

    def backlogs(self) -> dict[str, StreamBacklog]:
        with translate_errors(f"measuring {' and '.join(self.names)}", self._client):
            seconds, microseconds = self._client.time()
            return {name: self._backlog(name, now_ms=seconds * 1000 + microseconds // 1000) for name in self.names}

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


def _entries(response: Any) -> list[StreamEntry]:
    return [
        # Every entry has fields: redis-py returns an empty dict for a deleted one.
        StreamEntry(
            decode(name),
            decode(entry_id),
            {decode(key): decode(value) for key, value in fields.items()} if fields else None,
        )
        for name, entries in response or []
        for entry_id, fields in entries
    ]

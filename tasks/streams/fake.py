"""The streams in memory, for tests without Redis. The contract suite also covers an unavailable server."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from operations.messages import FieldValue, StreamEntry, parse_entry_id
from operations.monitoring.component_status import StreamBacklog
from tasks.streams.base import Publication, ReadResult, StreamsUnavailableError, check_owner


class FakeStreamServer:
    """The content of a Redis server. Several adapters may share one, like several processes."""

    def __init__(self) -> None:
        self.streams: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
        self.delivered: dict[str, str] = defaultdict(lambda: "0-0")
        # For each delivered entry, when it was delivered.
        self.pending: dict[str, dict[str, int]] = defaultdict(dict)
        self.markers: dict[str, str] = {}
        self.owners: dict[str, str] = {}
        self.is_unavailable = False
        self.loses_replies = False
        self.starts = 1
        self._deleted: dict[str, str] = defaultdict(lambda: "0-0")
        # The clock. It counts the entries, in milliseconds.
        self.now_ms = 0

    def add(self, stream: str, fields: Mapping[str, FieldValue], *, entry_id: str = "") -> str:
        """Append an entry like a producer, by default with the id that Redis would create: its clock never stops."""
        self.now_ms += 1
        last_ms, last_sequence = parse_entry_id(self.last_entry_id(stream))
        automatic = f"{self.now_ms}-0" if self.now_ms > last_ms else f"{last_ms}-{last_sequence + 1}"
        self.streams[stream][entry_id or automatic] = dict(fields)
        return entry_id or automatic

    def delete(self, stream: str, *entry_ids: str) -> None:
        """Delete entries of a stream; pending ones leave tombstones."""
        for entry_id in entry_ids:
            if self.streams[stream].pop(entry_id, None) is not None:
                self._deleted[stream] = max(self._deleted[stream], entry_id, key=parse_entry_id)

    def flush(self) -> None:
        """Delete everything, including groups and markers; ids continue to grow."""
        for content in (self.streams, self.delivered, self.pending, self.markers, self.owners, self._deleted):
            content.clear()

    def restart(self) -> None:
        """Break all connections and keep all data."""
        self.starts += 1

    def last_entry_id(self, stream: str) -> str:
        """Return the highest id assigned, including deleted entries."""
        return max(next(reversed(self.streams[stream]), "0-0"), self._deleted[stream], key=parse_entry_id)

    @contextmanager
    def call(self) -> Iterator[None]:
        """One call of a client: fails before it while the server is unavailable, after it while replies get lost."""
        if self.is_unavailable:
            message = "Redis does not answer (set to be unavailable)"
            raise StreamsUnavailableError(message)
        yield
        if self.loses_replies:
            message = "Redis does not answer (set to lose replies)"
            raise StreamsUnavailableError(message)


class FakeJobStreams:
    """Job streams on a fake server."""

    def __init__(self, server: FakeStreamServer, *, names: Sequence[str], reader: str = "") -> None:
        self.server = server
        self.names = tuple(names)
        self._reader = reader

    def take_over(self) -> None:
        with self.server.call():
            self.server.owners.update(dict.fromkeys(self.names, self._reader))

    def _check_owners(self) -> None:
        for name in self.names:
            check_owner(name, owner=self.server.owners.get(name, self._reader), reader=self._reader)

    def ensure_group(self) -> None:
        with self.server.call():
            for name in self.names:
                self.server.owners.setdefault(name, self._reader)
            self._check_owners()
            for name in self.names:
                self.server.delivered.setdefault(name, "0-0")

    def pending(self) -> list[StreamEntry]:
        with self.server.call():
            return [
                StreamEntry(name, entry_id, self.server.streams[name].get(entry_id), delivered_ms)
                for name in self.names
                for entry_id, delivered_ms in sorted(
                    self.server.pending[name].items(), key=lambda pending: parse_entry_id(pending[0])
                )
            ]

    def read_new(self, *, count: int, block_ms: int) -> ReadResult:  # noqa: ARG002 - never waits; all adapters are one consumer
        with self.server.call():
            entries = [entry for name in self.names for entry in self._deliver(name, count=count)]
            self._check_owners()
            pending = sum(len(self.server.pending[name]) for name in self.names)
            return ReadResult(entries, pending, pending_of_others=0, now_ms=self.server.now_ms)

    def _waiting(self, name: str) -> list[StreamEntry]:
        after = parse_entry_id(self.server.delivered[name])
        return [
            StreamEntry(name, entry_id, fields, self.server.now_ms)
            for entry_id, fields in self.server.streams[name].items()
            if parse_entry_id(entry_id) > after
        ]

    def _deliver(self, name: str, *, count: int) -> list[StreamEntry]:
        new = self._waiting(name)[:count]
        for entry in new:
            self.server.delivered[name] = entry.entry_id
            self.server.pending[name][entry.entry_id] = self.server.now_ms
        return new

    def acknowledge(self, entries: Sequence[StreamEntry]) -> None:
        with self.server.call():
            for entry in entries:
                self.server.pending[entry.stream].pop(entry.entry_id, None)

    def delivered_after(self, name: str, entry_id: str) -> list[StreamEntry]:
        with self.server.call():
            first, last = parse_entry_id(entry_id), parse_entry_id(self.server.delivered[name])
            entries = [StreamEntry(name, known, fields) for known, fields in self.server.streams[name].items()]
            return [entry for entry in entries if first < entry.order <= last]

    def deliver_again(self, name: str, entry_id: str) -> None:
        with self.server.call():
            self.server.delivered[name] = min(self.server.delivered[name], entry_id, key=parse_entry_id)

    def backlogs(self) -> dict[str, StreamBacklog]:
        """Return the backlog. Ages are 0: the ids of this server count entries, not milliseconds."""
        with self.server.call():
            return {
                name: StreamBacklog(len(self._waiting(name)), len(self.server.pending[name]), 0.0)
                for name in self.names
            }


class FakeEventStreams:
    """Event streams on a fake server."""

    def __init__(self, server: FakeStreamServer) -> None:
        self.server = server
        # The start of the server whose last ids the caller relies on.
        self._relied_on: int | None = None

    @contextmanager
    def _call(self) -> Iterator[None]:
        relied_on, self._relied_on = self._relied_on, None
        with self.server.call():
            if relied_on not in {None, self.server.starts}:
                message = "Redis does not answer (the connection broke)"
                raise StreamsUnavailableError(message)
            yield
        self._relied_on = relied_on

    def publish_once(self, publications: Sequence[Publication]) -> list[str]:
        with self._call():
            return [self._publish(publication) for publication in publications]

    def _publish(self, publication: Publication) -> str:
        marker = f"{publication.stream}:{publication.dedupe_key}"
        if marker not in self.server.markers:
            self.server.markers[marker] = self.server.add(publication.stream, publication.fields)
        return self.server.markers[marker]

    def published(self, stream: str, dedupe_keys: Sequence[str]) -> dict[str, Mapping[str, str] | None]:
        with self._call():
            markers = {key: self.server.markers.get(f"{stream}:{key}") for key in dedupe_keys}
            entries = self.server.streams[stream]
            return {key: entries.get(entry_id) for key, entry_id in markers.items() if entry_id is not None}

    def last_entry_id(self, stream: str) -> str:
        with self._call():
            last = self.server.last_entry_id(stream)
        self._relied_on = self.server.starts
        return last

"""The streams in memory, for tests without Redis. Behaves as the contract suite demands, including a server away."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from operations.vitals import Backlog
from tasks.streams.base import (
    Delivery,
    Publication,
    StreamEntry,
    StreamsUnavailableError,
    Unacknowledged,
    parse_entry_id,
)


class FakeStreamServer:
    """What a Redis would hold. Several adapters may share one, as several processes would."""

    def __init__(self) -> None:
        self.streams: dict[str, dict[str, Mapping[str, str]]] = defaultdict(dict)
        self.delivered: dict[str, str] = defaultdict(lambda: "0-0")
        self.pending: dict[str, dict[str, None]] = defaultdict(dict)
        self.markers: dict[str, str] = {}
        self.is_away = False
        self.loses_replies = False
        self.starts = 1
        self._deleted: dict[str, str] = defaultdict(lambda: "0-0")
        self._ids = itertools.count(1)

    def add(self, stream: str, fields: Mapping[str, str]) -> str:
        """Append an entry as a producer would; ids of all streams come from one clock."""
        entry_id = f"{next(self._ids)}-0"
        self.streams[stream][entry_id] = dict(fields)
        return entry_id

    def delete(self, stream: str, *entry_ids: str) -> None:
        """Take entries out of a stream; where they are pending, tombstones stay."""
        for entry_id in entry_ids:
            if self.streams[stream].pop(entry_id, None) is not None:
                self._deleted[stream] = max(self._deleted[stream], entry_id, key=parse_entry_id)

    def flush(self) -> None:
        """Forget everything, groups and markers too; the clock goes on."""
        for held in (self.streams, self.delivered, self.pending, self.markers, self._deleted):
            held.clear()

    def restart(self) -> None:
        """Break all connections; with all it holds, for ``flush`` is there for the rest."""
        self.starts += 1

    def last_entry_id(self, stream: str) -> str:
        """The highest id given out, deleted entries included."""
        return max(next(reversed(self.streams[stream]), "0-0"), self._deleted[stream], key=parse_entry_id)

    @contextmanager
    def call(self) -> Iterator[None]:
        """One call of a client: fails before it while the server is away, after it while replies get lost."""
        if self.is_away:
            message = "Redis does not answer (it was told to be away)"
            raise StreamsUnavailableError(message)
        yield
        if self.loses_replies:
            message = "Redis does not answer (it was told to lose replies)"
            raise StreamsUnavailableError(message)


class FakeJobStreams:
    """See JobStreams."""

    def __init__(self, server: FakeStreamServer, *, names: Sequence[str]) -> None:
        self.server = server
        self.names = tuple(names)

    def ensure_group(self) -> None:
        """See JobStreams."""
        with self.server.call():
            for name in self.names:
                self.server.delivered.setdefault(name, "0-0")

    def pending(self) -> list[StreamEntry]:
        """See JobStreams."""
        with self.server.call():
            return [
                StreamEntry(name, entry_id, self.server.streams[name].get(entry_id))
                for name in self.names
                for entry_id in sorted(self.server.pending[name], key=parse_entry_id)
            ]

    def read_new(self, *, count: int, block_ms: int) -> Delivery:  # noqa: ARG002 - nothing to wait for here
        """See JobStreams. Everybody here is one consumer."""
        with self.server.call():
            entries = [entry for name in self.names for entry in self._deliver(name, count=count)]
            pending = sum(len(self.server.pending[name]) for name in self.names)
            return Delivery(entries, Unacknowledged(ours=pending, of_others=0))

    def _waiting(self, name: str) -> list[StreamEntry]:
        after = parse_entry_id(self.server.delivered[name])
        return [
            StreamEntry(name, entry_id, fields)
            for entry_id, fields in self.server.streams[name].items()
            if parse_entry_id(entry_id) > after
        ]

    def _deliver(self, name: str, *, count: int) -> list[StreamEntry]:
        fresh = self._waiting(name)[:count]
        for entry in fresh:
            self.server.delivered[name] = entry.entry_id
            self.server.pending[name][entry.entry_id] = None
        return fresh

    def acknowledge(self, entries: Sequence[StreamEntry]) -> None:
        """See JobStreams."""
        with self.server.call():
            for entry in entries:
                self.server.pending[entry.stream].pop(entry.entry_id, None)

    def backlogs(self) -> dict[str, Backlog]:
        """See JobStreams. The ids of this server count entries, not milliseconds: nothing ever grows old here."""
        with self.server.call():
            return {name: Backlog(len(self._waiting(name)), len(self.server.pending[name]), 0.0) for name in self.names}


class FakeEventStreams:
    """See EventStreams."""

    def __init__(self, server: FakeStreamServer) -> None:
        self.server = server
        # The start of the server whose last ids are relied on.
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
        """See EventStreams."""
        with self._call():
            return [self._publish(one) for one in publications]

    def _publish(self, one: Publication) -> str:
        marker = f"{one.stream}:{one.dedupe_key}"
        if marker not in self.server.markers:
            self.server.markers[marker] = self.server.add(one.stream, one.fields)
        return self.server.markers[marker]

    def last_entry_id(self, stream: str) -> str:
        """See EventStreams."""
        with self._call():
            last = self.server.last_entry_id(stream)
        self._relied_on = self.server.starts
        return last

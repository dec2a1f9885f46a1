"""The streams in memory, for tests without Redis. Behaves as the contract suite demands, including a server away."""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence

from tasks.streams.base import Publication, StreamEntry, StreamsUnavailableError


class FakeStreamServer:
    """What a Redis would hold. Several adapters may share one, as several processes would."""

    def __init__(self) -> None:
        self.streams: dict[str, dict[str, Mapping[str, str]]] = defaultdict(dict)
        self.delivered: dict[str, int] = defaultdict(int)
        self.pending: dict[str, dict[str, None]] = defaultdict(dict)
        self.markers: dict[str, str] = {}
        self.is_away = False
        self._ids = itertools.count(1)

    def add(self, stream: str, fields: Mapping[str, str]) -> str:
        """Append an entry as a producer would; ids of all streams come from one clock."""
        entry_id = f"{next(self._ids)}-0"
        self.streams[stream][entry_id] = dict(fields)
        return entry_id

    def check(self) -> None:
        """Raise while the server is away."""
        if self.is_away:
            message = "Redis does not answer (it was told to be away)"
            raise StreamsUnavailableError(message)


class FakeJobStreams:
    """See JobStreams."""

    def __init__(self, server: FakeStreamServer, *, names: Sequence[str]) -> None:
        self.server = server
        self.names = tuple(names)

    def ensure_group(self) -> None:
        """See JobStreams."""
        self.server.check()

    def pending(self) -> list[StreamEntry]:
        """See JobStreams."""
        self.server.check()
        return [
            StreamEntry(name, entry_id, self.server.streams[name].get(entry_id))
            for name in self.names
            for entry_id in self.server.pending[name]
        ]

    def read_new(self, *, count: int, block_ms: int) -> list[StreamEntry]:  # noqa: ARG002 - nothing to wait for here
        """See JobStreams."""
        self.server.check()
        return [entry for name in self.names for entry in self._deliver(name, count=count)]

    def _deliver(self, name: str, *, count: int) -> list[StreamEntry]:
        start = self.server.delivered[name]
        fresh = list(self.server.streams[name].items())[start : start + count]
        self.server.delivered[name] += len(fresh)
        self.server.pending[name].update(dict.fromkeys(entry_id for entry_id, _ in fresh))
        return [StreamEntry(name, entry_id, fields) for entry_id, fields in fresh]

    def acknowledge(self, entries: Sequence[StreamEntry]) -> None:
        """See JobStreams."""
        self.server.check()
        for entry in entries:
            self.server.pending[entry.stream].pop(entry.entry_id, None)


class FakeEventStreams:
    """See EventStreams."""

    def __init__(self, server: FakeStreamServer) -> None:
        self.server = server

    def publish_once(self, publications: Sequence[Publication]) -> list[str]:
        """See EventStreams."""
        self.server.check()
        return [self._publish(one) for one in publications]

    def _publish(self, one: Publication) -> str:
        marker = f"{one.stream}:{one.dedupe_key}"
        if marker not in self.server.markers:
            self.server.markers[marker] = self.server.add(one.stream, one.fields)
        return self.server.markers[marker]

    def last_entry_id(self, stream: str) -> str:
        """See EventStreams."""
        self.server.check()
        return next(reversed(self.server.streams[stream]), "0-0")

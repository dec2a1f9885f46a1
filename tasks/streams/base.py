"""The port to the streams: reading jobs, publishing events exactly once.

Two adapters implement it, ``redis.py`` and ``fake.py``; one contract suite holds both to the promises below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from operations.vitals import Backlog
from runtimes.exceptions import ServiceUnavailableError

EntryId = tuple[int, int]


class StreamsUnavailableError(ServiceUnavailableError):
    """Redis did not answer, not in time, or refused; the text says what was tried and on which key.

    Whether the call took effect is unknown. Repeating it is safe.
    """


class StreamRefusedError(StreamsUnavailableError):
    """Redis answers, but refuses this one stream: its key holds something else. A person must mend it."""


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry as it was read. ``fields`` None is a tombstone: pending, but trimmed away by its producer."""

    stream: str
    entry_id: str
    fields: Mapping[str, str] | None

    @property
    def order(self) -> EntryId:
        """The entry id as numbers: ids of all streams of one Redis come from one clock."""
        return parse_entry_id(self.entry_id)


@dataclass(frozen=True, slots=True)
class Publication:
    """One event for one stream; ``dedupe_key`` makes a second publication a no-op."""

    stream: str
    dedupe_key: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StreamServer:
    """What the server of the streams says of itself. ``max_memory_bytes`` is 0 without a limit."""

    name: str
    version: str
    role: str
    appends_to_file: bool
    max_memory_bytes: int
    eviction: str
    now: datetime
    streams_without_group: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Unacknowledged:
    """How many entries were delivered and not acknowledged: to our consumer, by whichever process, and to others."""

    ours: int
    of_others: int


class Delivery(NamedTuple):
    """What one read has brought, and what waited to be acknowledged right after it, in all streams."""

    entries: list[StreamEntry]
    unacknowledged: Unacknowledged


class JobStreams(Protocol):
    """The job streams, read as one consumer of one group. Every call may raise StreamsUnavailableError."""

    @property
    def names(self) -> Sequence[str]:
        """The streams that are read."""

    def ensure_group(self) -> None:
        """Make streams and group where missing; a new group begins with the oldest entry. Idempotent."""

    def pending(self) -> list[StreamEntry]:
        """Everything delivered but not acknowledged, to us or to consumers that are gone, oldest first per stream.

        An entry deleted since its delivery comes as a tombstone, at least once.
        """

    def read_new(self, *, count: int, block_ms: int) -> Delivery:
        """Up to ``count`` new entries *of each stream*, in one atomic look; waits up to ``block_ms`` for
        the first one (0: does not wait). They stay pending until acknowledged.
        """

    def acknowledge(self, entries: Sequence[StreamEntry]) -> None:
        """Take entries off the pending list. Idempotent."""

    def backlogs(self) -> dict[str, Backlog]:
        """What waits, per stream; changes nothing. Ages are by the clock of the server; 0 when nothing waits."""


class EventStreams(Protocol):
    """The streams RTM writes. Every call may raise StreamsUnavailableError.

    Whoever has asked for last ids relies on them until the connection breaks: the server may come back with less than
    it had. So the first call after a break raises, however soon the server is back, and takes no effect.
    """

    def publish_once(self, publications: Sequence[Publication]) -> list[str]:
        """Append each to its stream, in order, unless its dedupe key was published before; returns the entry
        ids. Idempotent: repeating the call after an unknown outcome appends nothing twice.
        """

    def last_entry_id(self, stream: str) -> str:
        """The highest id the stream has ever given out; ``0-0`` for a stream that does not exist."""


def parse_entry_id(text: str) -> EntryId:
    """``1700000000000-3`` as (1700000000000, 3)."""
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence or 0)

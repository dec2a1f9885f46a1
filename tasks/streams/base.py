"""The port to the streams: reading jobs, and publishing events exactly once.

Two adapters implement it, ``redis`` and ``fake``. One contract suite tests both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from operations.messages import StreamEntry
from operations.monitoring.component_status import StreamBacklog
from runtimes.exceptions import ServiceUnavailableError


class StreamsUnavailableError(ServiceUnavailableError):
    """Redis did not answer in time, or refused; the text says what was tried and on which key.

    It is unknown whether the call took effect. It is safe to repeat it.
    """


class StreamRefusedError(StreamsUnavailableError):
    """Redis answers, but refuses this stream: its key has another type. An operator must fix it."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One event for one stream; ``dedupe_key`` makes a second publication a no-op."""

    stream: str
    dedupe_key: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StreamServer:
    """What the server of the streams reports about itself. ``max_memory_bytes`` is 0 without a limit.

    ``refusal_of_writes`` is the error of a small write, for example of a full server.
    """

    name: str
    version: str
    role: str
    appends_to_file: bool
    max_memory_bytes: int
    eviction: str
    now: datetime
    streams_without_group: Sequence[str] = ()
    refusal_of_writes: str = ""


class ReadResult(NamedTuple):
    """The new entries of one read, and right after it, how many are delivered but not acknowledged in all streams.

    ``pending`` counts those of our consumer (of any process), ``pending_of_others`` those of other consumers.
    """

    entries: list[StreamEntry]
    pending: int
    pending_of_others: int


class JobStreams(Protocol):
    """The job streams, read as one consumer of one group. Every call may raise StreamsUnavailableError."""

    @property
    def names(self) -> Sequence[str]:
        """The streams to read."""

    def ensure_group(self) -> None:
        """Create missing streams and groups; a new group starts with the oldest entry. Idempotent."""

    def pending(self) -> list[StreamEntry]:
        """Return the entries delivered but not acknowledged, to us or to stale consumers, oldest first per stream.

        An entry that was deleted after its delivery comes as a tombstone, at least once.
        """

    def read_new(self, *, count: int, block_ms: int) -> ReadResult:
        """Return up to ``count`` new entries *of each stream*, in one atomic read.

        Waits up to ``block_ms`` for the first entry (0: does not wait). Entries stay pending until acknowledged.
        """

    def acknowledge(self, entries: Sequence[StreamEntry]) -> None:
        """Remove entries from the pending list. Idempotent."""

    def backlogs(self) -> dict[str, StreamBacklog]:
        """Return the backlog per stream; changes nothing. Ages use the server's clock, and are 0 without a backlog."""


class EventStreams(Protocol):
    """The streams RTM writes. Every call may raise StreamsUnavailableError.

    A caller relies on the last ids that it read until the connection breaks, because the server may come back without
    its last writes. So the first call after a break always raises, and takes no effect.
    """

    def publish_once(self, publications: Sequence[Publication]) -> list[str]:
        """Append each to its stream, in order, unless its dedupe key was published before; return the entry ids.

        Idempotent: a repeated call after an unknown outcome appends nothing twice.
        """

    def last_entry_id(self, stream: str) -> str:
        """Return the highest id that the stream ever assigned; ``0-0`` if the stream does not exist."""

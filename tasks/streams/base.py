"""The port to the streams: reading jobs, and publishing events exactly once.

Two adapters implement it, ``redis`` and ``fake``. One contract suite tests both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


def check_owner(stream: str, *, owner: str, reader: str) -> None:
    """Raise StreamRefusedError if the stream belongs to another installation than ``reader``."""
    if owner != reader:
        message = (
            f"job stream {stream} belongs to another installation ({owner}), this one is {reader}; give each "
            "installation its own RTMANAGER_START_JOBS_STREAM and RTMANAGER_STOP_JOBS_STREAM, or its own database of "
            "Redis. If RTM has moved here, stop the other one and run: manage.py database_restored"
        )
        raise StreamRefusedError(message)


@dataclass(frozen=True, slots=True)
class Publication:
    """One event for one stream; ``dedupe_key`` makes a second publication a no-op."""

    stream: str
    dedupe_key: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StreamServer:
    """What the server of the streams reports about itself. ``max_memory_bytes`` is 0 without a limit.

    ``refusal_of_writes`` is the error of a small write, for example of a full server. ``owners``: job stream → the
    installation that reads it.
    """

    name: str
    version: str
    role: str
    appends_to_file: bool
    max_memory_bytes: int
    eviction: str
    now: datetime
    streams_without_group: Sequence[str] = ()
    owners: Mapping[str, str] = field(default_factory=dict)
    refusal_of_writes: str = ""


class ReadResult(NamedTuple):
    """The new entries of one read, and right after it, how many are delivered but not acknowledged in all streams.

    ``pending`` counts those of our consumer (of any process), ``pending_of_others`` those of other consumers.
    ``now_ms`` is the server's clock after the read.
    """

    entries: list[StreamEntry]
    pending: int
    pending_of_others: int
    now_ms: int


class JobStreams(Protocol):
    """The job streams, read as one consumer of one group. Every call may raise StreamsUnavailableError.

    The first installation that prepares a stream owns it. Another one is refused with StreamRefusedError, because two
    readers would take each other's jobs. An entry that a refused read has received stays pending for the owner.
    """

    @property
    def names(self) -> Sequence[str]:
        """The streams to read."""

    def ensure_group(self) -> None:
        """Create missing streams and groups; a new group starts with the oldest entry. Idempotent.

        Raises StreamRefusedError if another installation owns one of the streams.
        """

    def pending(self) -> list[StreamEntry]:
        """Return the entries delivered but not acknowledged, to us or to stale consumers, oldest first per stream.

        An entry that was deleted after its delivery comes as a tombstone, at least once. ``delivered_ms`` is when an
        entry was delivered to its consumer.
        """

    def read_new(self, *, count: int, block_ms: int) -> ReadResult:
        """Return up to ``count`` new entries *of each stream*, in one atomic read.

        Waits up to ``block_ms`` for the first entry (0: does not wait). Entries stay pending until acknowledged.
        """

    def acknowledge(self, entries: Sequence[StreamEntry]) -> None:
        """Remove entries from the pending list. Idempotent."""

    def delivered_after(self, name: str, entry_id: str) -> list[StreamEntry]:
        """Return the entries of one stream above this id that the group has received, oldest first; changes nothing."""

    def deliver_again(self, name: str, entry_id: str) -> None:
        """Let the group receive all entries of one stream above this id, once more if it had them. Idempotent.

        A group that has not reached this id yet stays where it is.
        """

    def take_over(self) -> None:
        """Make the streams ours, whichever installation owned them. The former owner is refused from then on."""

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

    def published(self, stream: str, dedupe_keys: Sequence[str]) -> dict[str, Mapping[str, str] | None]:
        """Dedupe key → the fields of the entry that was published with it; None if that entry was deleted since.

        A key that was never published, or longer than 7 days ago, is left out.
        """

    def last_entry_id(self, stream: str) -> str:
        """Return the highest id that the stream ever assigned; ``0-0`` if the stream does not exist."""

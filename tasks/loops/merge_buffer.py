"""Merges the two job streams into one order: by entry id, and by the reads that delivered the entries. Pure."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from operations.messages import StreamEntry, game_id_or_empty

_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class _Held:
    """An entry, and what shows when its producer wrote it.

    ``read`` is the number of the read that delivered it. ``after_read`` is the last read before it that left no entry
    of its stream unread, and ``after_ms`` a time of Redis' clock before that read. An id that is ``is_ahead`` of the
    clock is not the time at which the entry was written.
    """

    entry: StreamEntry
    read: int
    is_ahead: bool
    after_read: int = _UNKNOWN
    after_ms: int = _UNKNOWN

    @property
    def earliest_ms(self) -> int:
        return self.after_ms if self.is_ahead else self.entry.order[0]

    @property
    def latest_ms(self) -> int:
        return self.entry.delivered_ms if self.is_ahead else self.entry.order[0]

    def is_known_before(self, other: "_Held") -> bool:
        """Whether Redis shows that this entry was written before an entry of the other stream."""
        milliseconds, sequence = self.entry.order
        # An id that ends with 0 is a time of the clock, even if the clock was ahead then and was set back since.
        is_older_on_that_clock = self.is_ahead and other.is_ahead and sequence == 0
        return (
            self.latest_ms < other.earliest_ms
            or self.read <= other.after_read
            or (is_older_on_that_clock and milliseconds < other.entry.order[0])
        )


class MergeBuffer:
    """Holds entries until no older entry can arrive.

    An entry of the second stream comes before one of the first only if Redis shows that it was written before. So a
    start comes before a stop if their order is unknown. Entries of one stream keep their order.

    A read that returns ``count`` entries of one stream may have left older entries behind than it returned of another
    stream. So entries that do not come before the last one of such a stream wait for the next read.
    """

    def __init__(self, streams: Sequence[str]) -> None:
        self._first, self._second = streams
        self._entries: dict[tuple[str, str], _Held] = {}
        self._reads = 0
        self._clock_ms = _UNKNOWN
        # For each stream: the last read that left no entry of it unread, and the clock before that read.
        self._emptied: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add_pending(self, entries: Iterable[StreamEntry]) -> None:
        """Add entries that were delivered before the first read. Idempotent."""
        for entry in entries:
            is_ahead = entry.order[0] > entry.delivered_ms
            self._entries[entry.stream, entry.entry_id] = _Held(entry, read=self._reads, is_ahead=is_ahead)

    def ready(self, read: Sequence[StreamEntry], *, count: int, now_ms: int) -> list[StreamEntry]:
        """Add the result of one read of both streams; return the entries that can be accepted now, in their order.

        ``now_ms`` is Redis' clock after the read.
        """
        self._reads += 1
        self._watch_clock(now_ms)
        for entry in read:
            after_read, after_ms = self._emptied.get(entry.stream, (_UNKNOWN, _UNKNOWN))
            is_ahead = entry.order[0] > now_ms
            held = _Held(entry, self._reads, is_ahead, after_read, after_ms)
            self._entries[entry.stream, entry.entry_id] = held
        full = {name for name in (self._first, self._second) if sum(one.stream == name for one in read) >= count}
        for name in {self._first, self._second} - full:
            self._emptied[name] = self._reads, self._clock_ms
        self._clock_ms = now_ms
        return [held.entry for held in self._merge(full)]

    def undecided(self, entries: Iterable[StreamEntry]) -> list[tuple[StreamEntry, StreamEntry]]:
        """Return, for each game, two of these held entries whose order Redis does not show, if there are such."""
        by_game: dict[str, tuple[list[_Held], list[_Held]]] = {}
        for entry in entries:
            both = by_game.setdefault(game_id_or_empty(entry), ([], []))
            both[entry.stream == self._second].append(self._entries[entry.stream, entry.entry_id])
        by_game.pop("", None)
        pairs: list[tuple[StreamEntry, StreamEntry]] = []
        for firsts, seconds in by_game.values():
            for first, second in product(firsts, seconds):
                if not (first.is_known_before(second) or second.is_known_before(first)):
                    pairs.append((first.entry, second.entry))
                    break
        return pairs

    def discard(self, entries: Iterable[StreamEntry]) -> None:
        """Remove entries. Idempotent."""
        for entry in entries:
            self._entries.pop((entry.stream, entry.entry_id), None)

    def _watch_clock(self, now_ms: int) -> None:
        """Forget the times of a clock that was set back: they cannot be compared with its new times."""
        was_set_back = now_ms < self._clock_ms
        if was_set_back:
            self._clock_ms = _UNKNOWN
            self._emptied = {name: (read, _UNKNOWN) for name, (read, _ms) in self._emptied.items()}
        for key, held in self._entries.items():
            after_ms = _UNKNOWN if was_set_back else held.after_ms
            # Once ahead, always ahead: a clock that has reached the id shows nothing.
            is_ahead = held.is_ahead or held.entry.order[0] > now_ms
            self._entries[key] = replace(held, is_ahead=is_ahead, after_ms=after_ms)

    def _merge(self, full: Iterable[str]) -> Iterable[_Held]:
        queues = {name: deque(self._of_stream(name)) for name in (self._first, self._second)}
        firsts, seconds = queues[self._first], queues[self._second]
        while firsts or seconds:
            if any(not queues[name] for name in full):
                # Unread entries of that stream may come before the others.
                return
            # Not only the next one: what precedes an older entry in its stream is older, too.
            is_second = not firsts or any(second.is_known_before(firsts[0]) for second in seconds)
            yield (seconds if is_second else firsts).popleft()

    def _of_stream(self, name: str) -> list[_Held]:
        return sorted(
            (held for (stream, _id), held in self._entries.items() if stream == name), key=lambda held: held.entry.order
        )

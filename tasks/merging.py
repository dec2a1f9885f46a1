"""Two job streams, one order: entries are taken over in the order of their ids, whichever stream they came by. Pure."""

from collections.abc import Iterable, Sequence

from tasks.streams.base import EntryId, StreamEntry


class MergeBuffer:
    """Holds what was read until nothing older can still come.

    A read that fills its count may have left older entries behind than what the other stream gave: whatever is
    newer than the last entry of such a read waits for the next one.
    """

    def __init__(self, streams: Sequence[str]) -> None:
        self._streams = tuple(streams)
        self._entries: dict[tuple[str, str], StreamEntry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entries: Iterable[StreamEntry]) -> None:
        """Put entries in; one that is in already changes nothing."""
        for entry in entries:
            self._entries[entry.stream, entry.entry_id] = entry

    def ready(self, read: Sequence[StreamEntry], *, count: int) -> list[StreamEntry]:
        """The entries that may be taken over now, oldest first, after one look at all streams gave ``read``."""
        self.add(read)
        watermark = self._watermark(read, count=count)
        return [
            entry
            for entry in sorted(self._entries.values(), key=lambda one: one.order)
            if watermark is None or entry.order <= watermark
        ]

    def discard(self, entries: Iterable[StreamEntry]) -> None:
        """Forget entries that were taken over."""
        for entry in entries:
            self._entries.pop((entry.stream, entry.entry_id), None)

    def _watermark(self, read: Sequence[StreamEntry], *, count: int) -> EntryId | None:
        bounds = []
        for stream in self._streams:
            orders = [entry.order for entry in read if entry.stream == stream]
            if len(orders) >= count:
                bounds.append(max(orders))
        return min(bounds) if bounds else None

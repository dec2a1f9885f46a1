"""Merges the job streams into one order, by entry id. Pure."""

from collections.abc import Iterable, Sequence

from operations.messages import EntryId, StreamEntry


class MergeBuffer:
    """Holds entries until no older entry can arrive.

    A read that returns ``count`` entries of one stream may have left older entries behind than it returned of another
    stream. So all entries newer than the last one of such a stream wait for the next read.
    """

    def __init__(self, streams: Sequence[str]) -> None:
        self._streams = tuple(streams)
        self._entries: dict[tuple[str, str], StreamEntry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entries: Iterable[StreamEntry]) -> None:
        """Add entries. Idempotent."""
        for entry in entries:
            self._entries[entry.stream, entry.entry_id] = entry

    def ready(self, read: Sequence[StreamEntry], *, count: int) -> list[StreamEntry]:
        """Add the result of one read of all streams; return the entries that can be accepted now, oldest first."""
        self.add(read)
        watermark = self._watermark(read, count=count)
        return [
            entry
            for entry in sorted(self._entries.values(), key=lambda entry: entry.order)
            if watermark is None or entry.order <= watermark
        ]

    def discard(self, entries: Iterable[StreamEntry]) -> None:
        """Remove entries. Idempotent."""
        for entry in entries:
            self._entries.pop((entry.stream, entry.entry_id), None)

    def _watermark(self, read: Sequence[StreamEntry], *, count: int) -> EntryId | None:
        bounds = []
        for stream in self._streams:
            orders = [entry.order for entry in read if entry.stream == stream]
            if len(orders) >= count:
                bounds.append(max(orders))
        return min(bounds) if bounds else None

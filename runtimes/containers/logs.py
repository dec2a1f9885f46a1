"""The engine's log answer, bytes to lines. Pure; fed in pieces of any size.

Without a terminal the answer is a row of frames, ``{stream, 0, 0, 0, length}`` and a payload; with one it is plain
text. Both carry a time in front of each message, which is asked for so that the two can be told apart: no frame
begins with a digit. A long line comes as several messages of one time, of which the last may have a line end.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from runtimes.containers.payloads import parse_engine_time
from runtimes.containers.telemetry import CUT, MAX_LINE_CHARACTERS, MAX_LOG_CHARACTERS, LogLine, newest_within

_HEADER_BYTES = 8
# The engine cuts messages at 16 KiB; a length far beyond is no length.
_LONGEST_FRAME_BYTES = 1024 * 1024
# A UTF-8 character has four bytes at most: so much is enough to fill a line.
_ENOUGH_BYTES = 4 * (MAX_LINE_CHARACTERS + 1)
_STREAMS = {0: "stdin", 1: "stdout", 2: "stderr", 3: "stderr"}


@dataclass(slots=True)
class _Line:
    """A line under way."""

    at: datetime | None
    text: bytearray = field(default_factory=bytearray)


class LogParser:
    """Turns what the engine sends into lines; keeps what has no end yet."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._unfinished: dict[str, _Line] = {}

    def feed(self, data: bytes) -> Iterator[LogLine]:
        """The lines that are whole by now. Raises ValueError when this is no log."""
        self._received += data
        for stream, message in self._messages():
            at, text = _split_time(message.rstrip(b"\n"))
            # The log driver "local" drops the line end of a long line: only the next time tells that it was over.
            if at and stream in self._unfinished and self._unfinished[stream].at != at:
                yield _as_line(stream, self._unfinished.pop(stream))
            line = self._unfinished.setdefault(stream, _Line(at))
            line.text += text[: max(0, _ENOUGH_BYTES - len(line.text))]
            if message.endswith(b"\n"):
                yield _as_line(stream, self._unfinished.pop(stream))

    def finish(self) -> Iterator[LogLine]:
        """What is left when nothing more comes: lines that were never ended."""
        if self._received and self._received[0] not in _STREAMS:
            yield from self.feed(b"\n")
        for stream, line in self._unfinished.items():
            yield _as_line(stream, line)
        self._unfinished.clear()

    def _messages(self) -> Iterator[tuple[str, bytes]]:
        while self._received:
            is_framed = self._received[0] in _STREAMS
            message = self._take_frame() if is_framed else self._take_text()
            if message is None:
                return
            yield message

    def _take_frame(self) -> tuple[str, bytes] | None:
        length = int.from_bytes(self._received[4:_HEADER_BYTES])
        if length > _LONGEST_FRAME_BYTES:
            message = f"a log message of {length} bytes"
            raise ValueError(message)
        end = _HEADER_BYTES + length
        if len(self._received) < max(end, _HEADER_BYTES):
            return None
        stream, payload = _STREAMS[self._received[0]], bytes(self._received[_HEADER_BYTES:end])
        del self._received[:end]
        return stream, payload

    def _take_text(self) -> tuple[str, bytes] | None:
        end = self._received.find(b"\n") + 1
        if not end:
            # A terminal's endless line is handed on in parts, so that it is never kept whole.
            if len(self._received) < _ENOUGH_BYTES:
                return None
            end = len(self._received)
        payload = bytes(self._received[:end])
        del self._received[:end]
        return "stdout", payload


def read_log(chunks: Iterable[bytes], *, tail: int) -> list[LogLine]:
    """The last ``tail`` lines of an answer, fewer when they are very long. Never holds much more than it returns."""
    parser = LogParser()
    newest: deque[LogLine] = deque(maxlen=tail)
    for chunk in chunks:
        newest.extend(parser.feed(chunk))
    newest.extend(parser.finish())
    return newest_within(newest, characters=MAX_LOG_CHARACTERS)


def _split_time(message: bytes) -> tuple[datetime | None, bytes]:
    head, _blank, text = message.partition(b" ")
    try:
        at = parse_engine_time(head.decode("ascii"))
    except ValueError:
        at = None
    return (at, text) if at else (None, message)


def _as_line(stream: str, line: _Line) -> LogLine:
    text = bytes(line.text).decode("utf-8", "replace").replace("\x00", "").removesuffix("\r")
    if len(text) > MAX_LINE_CHARACTERS:
        text = text[: MAX_LINE_CHARACTERS - 1] + CUT
    return LogLine(line.at, stream, text)

"""Parser for Docker's log response, from bytes to lines. Pure; accepts chunks of any size.

Without a terminal, the response is a sequence of frames: ``{stream, 0, 0, 0, length}`` and a payload. With a terminal
it is plain text. Both start each message with a timestamp, which RTM requests to distinguish them: no frame starts
with a digit. A long line arrives as several messages with the same timestamp; the last one may have a line end.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from runtimes.containers.docker.payloads import parse_docker_time
from runtimes.containers.types import CUT, MAX_LINE_CHARACTERS, MAX_LOG_CHARACTERS, LogLine, truncate_to_last

_HEADER_BYTES = 8
# Docker splits messages at 16 KiB; a far larger value is not a length.
_LONGEST_FRAME_BYTES = 1024 * 1024
# Enough bytes to fill a line: a UTF-8 character has at most four.
_ENOUGH_BYTES = 4 * (MAX_LINE_CHARACTERS + 1)
_STREAMS = {0: "stdin", 1: "stdout", 2: "stderr", 3: "stderr"}


@dataclass(slots=True)
class _Line:
    """An incomplete line."""

    at: datetime | None
    text: bytearray = field(default_factory=bytearray)


def parse_log(chunks: Iterable[bytes]) -> Iterator[LogLine]:
    """The lines of a response, each as soon as it is complete. Raises ValueError if the data is not a log."""
    unfinished: dict[str, _Line] = {}
    for stream, message in _messages(chunks):
        at, text = _split_time(message.rstrip(b"\n"))
        # The log driver "local" drops the line end of a long line: only the next timestamp shows its end.
        if at and stream in unfinished and unfinished[stream].at != at:
            yield _as_line(stream, unfinished.pop(stream))
        line = unfinished.setdefault(stream, _Line(at))
        line.text += text[: max(0, _ENOUGH_BYTES - len(line.text))]
        if message.endswith(b"\n"):
            yield _as_line(stream, unfinished.pop(stream))
    for stream, line in unfinished.items():
        yield _as_line(stream, line)


def read_log(chunks: Iterable[bytes], *, tail: int) -> list[LogLine]:
    """The last ``tail`` lines of a response, fewer if they are very long. Memory use stays near the result size."""
    return truncate_to_last(deque(parse_log(chunks), maxlen=tail), characters=MAX_LOG_CHARACTERS)


def _messages(chunks: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Each message with its stream."""
    received = bytearray()
    for chunk in chunks:
        received += chunk
        while received:
            stream, start, end = _next_frame(received) if received[0] in _STREAMS else _next_text(received)
            if not end:
                break
            yield stream, bytes(received[start:end])
            del received[:end]
    if received and received[0] not in _STREAMS:
        yield "stdout", bytes(received) + b"\n"


def _next_frame(received: bytearray) -> tuple[str, int, int]:
    """The stream of the first message, its first byte and its end, 0 if it is incomplete."""
    length = int.from_bytes(received[4:_HEADER_BYTES])
    if length > _LONGEST_FRAME_BYTES:
        raise ValueError(f"a log message of {length} bytes")
    end = _HEADER_BYTES + length
    return _STREAMS[received[0]], _HEADER_BYTES, end if len(received) >= end else 0


def _next_text(received: bytearray) -> tuple[str, int, int]:
    end = received.find(b"\n") + 1
    # A terminal may write an endless line: it is passed on in parts to limit memory.
    return "stdout", 0, end or (len(received) if len(received) >= _ENOUGH_BYTES else 0)


def _split_time(message: bytes) -> tuple[datetime | None, bytes]:
    head, _blank, text = message.partition(b" ")
    with suppress(ValueError):
        if at := parse_docker_time(head.decode("ascii")):
            return at, text
    return None, message


def _as_line(stream: str, line: _Line) -> LogLine:
    text = bytes(line.text).decode("utf-8", "replace").replace("\x00", "").removesuffix("\r")
    if len(text) > MAX_LINE_CHARACTERS:
        text = text[: MAX_LINE_CHARACTERS - 1] + CUT
    return LogLine(line.at, stream, text)

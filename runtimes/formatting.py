"""Times, durations, sizes, ids and commands as text for operators, and back; times as numbers.

Pure, and without Django: the command line uses it too.
"""

import re
import shlex
from contextlib import suppress
from datetime import UTC, datetime, timedelta

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_MEBIBYTE = 1024**2
_SHORT_ID_LENGTH = 12
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+")
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def format_duration(duration: timedelta) -> str:
    """``12 s``, ``4 min``, ``3 h`` or ``5 days``; never negative."""
    seconds = max(0, round(duration.total_seconds()))
    if seconds < 2 * _MINUTE:
        return f"{seconds} s"
    if seconds < 2 * _HOUR:
        return f"{seconds // _MINUTE} min"
    return f"{seconds // _HOUR} h" if seconds < 2 * _DAY else f"{seconds // _DAY} days"


def parse_duration(text: str) -> timedelta:
    """Parse ``500ms``, ``30s``, ``5m``, ``1h``, ``90d`` or a sum such as ``1h30m``.

    Raises ValueError with a message for the operator. A number without a unit is invalid.
    """
    cleaned = text.strip()
    # Too long a duration overflows a timedelta.
    with suppress(OverflowError):
        if _DURATION.fullmatch(cleaned):
            parts = _DURATION_PART.findall(cleaned)
            return sum((timedelta(**{_UNITS[unit]: float(amount)}) for amount, unit in parts), timedelta())
    raise ValueError(f"{text[:60]!r} is not a duration; write for example 500ms, 30s, 5m, 1h or 90d")


def format_age(at: datetime, *, now: datetime) -> str:
    """``4 min ago``, or ``in 20 s``. Clocks differ a little: less than a second in the future is ``0 s ago``."""
    is_past = at < now + timedelta(seconds=1)
    return f"{format_duration(now - at)} ago" if is_past else f"in {format_duration(at - now)}"


def format_timestamp(at: datetime) -> str:
    """``2026-11-21 03:12:09 UTC``."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def format_time(at: datetime, *, now: datetime) -> str:
    """``03:12:09 UTC (4 min ago)``, with the date if it is another day."""
    text = f"{at:%H:%M:%S} UTC" if at.date() == now.date() else format_timestamp(at)
    return f"{text} ({format_age(at, now=now)})"


def to_rfc3339(at: datetime, *, timespec: str = "auto") -> str:
    """``2026-11-21T03:12:09.125000Z``. ``timespec`` is that of ``datetime.isoformat``."""
    return at.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def to_unix(at: datetime, unit: timedelta) -> int:
    """Whole units since 1970, rounded down. Integer arithmetic: a float loses microseconds of distant times."""
    return (at - _EPOCH) // unit


def from_unix_ms(milliseconds: int) -> datetime:
    """The time that is this many milliseconds after 1970, in UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def format_memory(size: float) -> str:
    """``512 MiB``, or ``1000 bytes`` for less than one MiB."""
    return f"{size / _MEBIBYTE:.0f} MiB" if size >= _MEBIBYTE else f"{size} bytes"


def short_id(container_id: str) -> str:
    """A container id in the length that ``docker ps`` shows."""
    return container_id[:_SHORT_ID_LENGTH]


def short_image_id(image_id: str) -> str:
    """An image id, ``sha256:`` included, with the number of digits that ``docker images`` shows."""
    return image_id[: len("sha256:") + _SHORT_ID_LENGTH]


def format_image(image_ref: str | None) -> str:
    """The image as part of a sentence, also if its reference is unknown."""
    return f"image {image_ref}" if image_ref else "an image without a known name"


def verb_command(verb: str, game_id: str, *arguments: str) -> str:
    """The ``rtm`` command line of an action on a game."""
    return shlex.join(["rtm", verb, game_id, *arguments])


def single_line(text: str, *, longest: int = 600) -> str:
    """A message on one line, without its full stop, and truncated to ``longest`` characters."""
    flat = " ".join(text.split()).rstrip(".")
    return flat if len(flat) <= longest else f"{flat[:longest]}…"

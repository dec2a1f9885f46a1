"""Text for people: tables, ages, and nothing that would steer their terminal."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

SHORT_ID = 12
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_SIZES = ("B", "KiB", "MiB", "GiB")
_COLOURS = {
    **dict.fromkeys(("running", "success", "ok", "info"), "green"),
    **dict.fromkeys(("stopped", "warning", "accepted"), "yellow"),
    **dict.fromkeys(("failure", "failed", "critical"), "red"),
}


def plain(text: Any) -> str:
    """The text without control characters: what a game writes must not move the cursor or rename the window."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text))


def cell(value: Any) -> str:
    """A value as a table shows it, on one line; nothing is a dash."""
    return "-" if value in (None, "") else plain(value).replace("\n", " ").replace("\t", " ")


def table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Aligned columns under their titles; words for good and bad states in colour."""
    lines = [[cell(value) for value in row] for row in rows]
    widths = [max([len(title), *(len(line[index]) for line in lines)]) for index, title in enumerate(titles)]
    head = "  ".join(title.upper().ljust(width) for title, width in zip(titles, widths, strict=True)).rstrip()
    return "\n".join([click.style(head, bold=True), *(_line(line, widths) for line in lines)])


def facts(pairs: Iterable[tuple[str, Any]]) -> str:
    """Names and values below each other."""
    rows = [(name, cell(value)) for name, value in pairs]
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name.ljust(width)}  {_coloured(value)}" for name, value in rows)


def moment(text: str | None) -> datetime | None:
    """A time of the API, or None."""
    return datetime.fromisoformat(text) if text else None


def age(text: str | None, *, now: datetime | None = None) -> str:
    """How long ago a time of the API was, in its largest two units; a dash when it never was."""
    at = moment(text)
    return "-" if at is None else f"{span((now or datetime.now(UTC)) - at)} ago"


def span(duration: timedelta) -> str:
    """A duration in its largest two units: ``3h12m``, ``2d``, ``45s``; below a second ``0s``."""
    left = max(0, int(duration.total_seconds()))
    amounts = []
    for unit, seconds in _UNITS:
        amount, left = divmod(left, seconds)
        amounts.append((amount, unit))
    largest = next((index for index, (amount, _unit) in enumerate(amounts) if amount), len(_UNITS) - 1)
    return "".join(f"{amount}{unit}" for amount, unit in amounts[largest : largest + 2] if amount) or "0s"


def clock(text: str | None) -> str:
    """A time of the API to the second, in UTC as it came; a dash when there is none."""
    at = moment(text)
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def milliseconds(duration: int | None) -> str:
    """A step's duration: ``11 ms``, ``2.4 s``; three dots while it lasts."""
    if duration is None:
        return "…"
    return f"{duration} ms" if duration < 1000 else f"{duration / 1000:.1f} s"  # noqa: PLR2004  # a second


def size(count: float | None) -> str:
    """Bytes in the largest unit that leaves a number of at least one."""
    if count is None:
        return "-"
    power = next((power for power in (3, 2, 1) if count >= 1024**power), 0)
    return f"{count / 1024**power:.1f} {_SIZES[power]}" if power else f"{count:.0f} B"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [text.ljust(width) for text, width in zip(cells, widths, strict=True)]
    padded[-1] = cells[-1]
    return "  ".join(padded[index].replace(text, _coloured(text), 1) for index, text in enumerate(cells)).rstrip()


def _coloured(text: str) -> str:
    return click.style(text, fg=_COLOURS[text]) if text in _COLOURS else text

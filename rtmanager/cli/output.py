"""Formats text for the terminal: tables, times and sizes, without control characters."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from runtimes.formatting import short_id

Record = dict[str, Any]
# A column or line of output: the name of a field of a record, or a function of the record.
Columns = Mapping[str, str | Callable[[Record], Any]]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_SIZES = ("B", "KiB", "MiB", "GiB")
_COLOURS = {
    **dict.fromkeys(("running", "success", "ok", "info"), "green"),
    **dict.fromkeys(("stopped", "warning", "accepted"), "yellow"),
    **dict.fromkeys(("failure", "failed", "critical"), "red"),
}


def strip_control(text: Any) -> str:
    """Replace control characters: the output of a game must not move the cursor or rename the window."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text))


def format_cell(value: Any) -> str:
    """Format a table cell on one line; an empty value is a dash."""
    return "-" if value in (None, "") else strip_control(value).replace("\n", " ").replace("\t", " ")


def table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Format aligned columns under their titles; known states are coloured."""
    lines = [[format_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *lines, strict=True)]
    head = "  ".join(title.upper().ljust(width) for title, width in zip(titles, widths, strict=True)).rstrip()
    return "\n".join([click.style(head, bold=True), *(_line(line, widths) for line in lines)])


def pairs(record: Record, columns: Columns) -> list[tuple[str, Any]]:
    """Return the name and the value of each column of one record."""
    return [(name, record[column] if isinstance(column, str) else column(record)) for name, column in columns.items()]


def table_of(records: Iterable[Record], columns: Columns) -> str:
    """Format records as a table."""
    return table(list(columns), ([value for _name, value in pairs(record, columns)] for record in records))


def key_values(values: Sequence[tuple[str, Any]]) -> str:
    """Format one name and value per line."""
    width = max(len(name) for name, _value in values)
    return "\n".join(f"{name.ljust(width)}  {_coloured(format_cell(value))}" for name, value in values)


def of(field: str, formatted: Callable[[Any], str]) -> Callable[[Record], str]:
    """A column that formats one field."""
    return lambda record: formatted(record[field])


def plural(count: int, noun: str) -> str:
    """Format a count with its noun: ``1 game``, ``2 games``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_age(text: str | None, *, now: datetime | None = None) -> str:
    """Format how long ago a time of the API was, in its largest two units; a dash for None."""
    return f"{format_duration((now or datetime.now(UTC)) - datetime.fromisoformat(text))} ago" if text else "-"


def format_duration(duration: timedelta) -> str:
    """Format a duration in its largest two units: ``3h12m``, ``2d``, ``45s``; below a second ``0s``."""
    left = max(0, int(duration.total_seconds()))
    amounts = []
    for unit, seconds in _UNITS:
        amount, left = divmod(left, seconds)
        amounts.append(f"{amount}{unit}" if amount else "")
    largest = next((index for index, amount in enumerate(amounts) if amount), 0)
    return "".join(amounts[largest : largest + 2]) or "0s"


def format_time(text: str | None) -> str:
    """Format a time of the API to the second, in UTC; a dash for None."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" if text else "-"


def format_time_and_age(text: str | None) -> str:
    """Format a time of the API, and how long ago it was; a dash for None."""
    return f"{format_time(text)} ({format_age(text)})" if text else "-"


def format_id(container_id: str | None) -> str:
    """Format a container id as ``docker ps`` does; a dash for None."""
    return short_id(format_cell(container_id))


def format_milliseconds(duration: int | None) -> str:
    """Format the duration of a step: ``11 ms``, ``2.4 s``; three dots while the step runs."""
    if duration is None:
        return "…"
    return f"{duration} ms" if duration < 1000 else f"{duration / 1000:.1f} s"  # noqa: PLR2004  # a second


def format_bytes(count: float | None) -> str:
    """Format bytes in the largest unit that gives a number of at least 1."""
    if count is None:
        return "-"
    power = next((power for power in (3, 2, 1) if count >= 1024**power), 0)
    return f"{count / 1024**power:.1f} {_SIZES[power]}" if power else f"{count:.0f} B"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (_coloured(text) + " " * (width - len(text)) for text, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def _coloured(text: str) -> str:
    return click.style(text, fg=_COLOURS[text]) if text in _COLOURS else text

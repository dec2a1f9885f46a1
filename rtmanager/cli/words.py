"""The kinds of words that commands take: games, numbers of things, durations, moments."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from rtmanager.durations import parse_duration

_GAME_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,50}")
_NUMBER = re.compile(r"[1-9][0-9]{0,18}")


class GameId(click.ParamType[str]):
    """A game's id; checked here, because it becomes a part of an address."""

    name = "game"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The id itself; a usage error for what cannot be one."""
        if not _GAME_ID.fullmatch(value):
            self.fail(f"{value!r} is no game id: letters, digits, _ and -, 51 at most.", param, ctx)
        return str(value)


class Number(click.ParamType[str]):
    """The id of an operation, a dead letter or a black box, as text: it only names something."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The id itself; a usage error for what cannot be one."""
        if not _NUMBER.fullmatch(value):
            self.fail(f"{value!r} is no id: it must be a whole number.", param, ctx)
        return str(value)


class Duration(click.ParamType[timedelta]):
    """``500ms``, ``30s``, ``5m``, ``1h``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The duration; a usage error for anything else."""
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class Since(click.ParamType[str]):
    """A moment of the past: a duration before now, or a time in RFC 3339."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The moment in RFC 3339; a usage error for anything else."""
        try:
            return _rfc3339(datetime.now(UTC) - parse_duration(value))
        except (ValueError, OverflowError):
            pass
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no moment; write 10m, or 2026-11-21T08:30:00Z.", param, ctx)
        return _rfc3339(at if at.tzinfo else at.replace(tzinfo=UTC))


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")

"""Parameter types of the commands: game ids, record ids, end causes, durations, times."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from runtimes.formatting import parse_duration, to_rfc3339

# The values of EndedBy, which needs Django. A meta test compares both.
END_CAUSES = ("docker_restarted", "out_of_memory", "killed", "exited")


class Identifier(click.ParamType[str]):
    """Text that becomes part of a URL: it must match the pattern."""

    def __init__(self, name: str, pattern: str, syntax: str) -> None:
        self.name, self.pattern, self.syntax = name, re.compile(pattern), syntax

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not self.pattern.fullmatch(value):
            self.fail(f"{value!r} is not {self.syntax}", param, ctx)
        return str(value)


GAME_ID = Identifier("game", r"[A-Za-z0-9][A-Za-z0-9_-]{0,50}", "a game id. Use letters, digits, _ and -, at most 51.")
# The id of an operation, a dead letter or an exit report.
RECORD_ID = Identifier("id", r"[1-9][0-9]{0,18}", "an id. An id is a whole number.")


class EndCause(click.Choice[str]):
    """Why a game is down, as ``ended_by`` of the API; ``docker_restart`` is an alias of ``docker_restarted``."""

    def __init__(self) -> None:
        super().__init__(END_CAUSES)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert("docker_restarted" if value == "docker_restart" else value, param, ctx)


class Duration(click.ParamType[timedelta]):
    """``500ms``, ``30s``, ``5m``, ``1h``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class Since(click.ParamType[str]):
    """A time in the past: a duration before now, or a time in RFC 3339."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return to_rfc3339(datetime.now(UTC) - parse_duration(value))
        except (ValueError, OverflowError):
            pass
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time. Write 10m, or 2026-11-21T08:30:00Z.", param, ctx)
        return to_rfc3339(at if at.tzinfo else at.replace(tzinfo=UTC))

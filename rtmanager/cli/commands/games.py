"""The games on record: list, show, explain, stats."""

import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import click

from rtmanager.cli.command import Session, api_command
from rtmanager.cli.output import (
    Columns,
    format_age,
    format_bytes,
    format_id,
    format_time,
    format_time_and_age,
    key_values,
    of,
    pairs,
)
from rtmanager.cli.param_types import GAME_ID, Duration, EndCause

STATUSES = ("running", "stopped", "removed")
# Name of a column of `rtm list` → its value.
COLUMNS: Columns = {
    "game": "game_id", "status": "status", "image": "current_image_ref",
    "container": of("current_container_id", format_id),
    "endpoint": "engine_endpoint", "network": "docker_network", "state": "state_path",
    "started": of("started_at", format_age), "stopped": of("stopped_at", format_age),
    "removed": of("removed_at", format_age), "changed": of("last_op_at", format_age),
    "created": of("created_at", format_age),
}  # fmt: skip
_RECORD: Columns = {
    "game": "game_id", "status": "status", "image": "current_image_ref", "container": "current_container_id",
    "endpoint": "engine_endpoint", "network": "docker_network", "state": "state_path",
    **{name: of(f"{name}_at", format_time_and_age) for name in ("started", "stopped", "removed", "created")},
    "changed": of("last_op_at", format_time_and_age),
}  # fmt: skip
_USAGE: Columns = {
    "container": of("container_id", format_id),
    "measured": of("at", format_time),
    "processor": of("cpu_percent", lambda percent: "-" if percent is None else f"{percent:.1f} %"),
    "memory": lambda stats: f"{format_bytes(stats['memory_bytes'])} of {format_bytes(stats['memory_limit_bytes'])}",
    "processes": "pids",
    "received": of("network_rx_bytes", format_bytes),
    "sent": of("network_tx_bytes", format_bytes),
}
_CLEAR_SCREEN = "\x1b[H\x1b[2J"


def _read_columns(_context: click.Context, _parameter: click.Parameter, text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in COLUMNS]
    if unknown or not names:
        problem = f"unknown column {', '.join(unknown)}" if unknown else "no column is named"
        raise click.BadParameter(f"{problem}. Columns: {', '.join(COLUMNS)}.")
    return names


@click.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only games in this status.")
@click.option("--ended-by", type=EndCause(), help="Only games that are down with this cause.")
@click.option("--image", metavar="TEXT", help="Only games whose image name contains this text.")
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="Maximum number of games read.")
@click.option(
    "--columns",
    callback=_read_columns,
    default="game,status,image,container,started,changed",
    show_default=True,
    help=f"Any of {', '.join(COLUMNS)}.",
)
@click.option("--watch", is_flag=True, help="Refresh the list until Ctrl-C.")
@click.option("--every", type=Duration(), default="2s", show_default=True, help="Refresh interval of --watch.")
@api_command()
def list_games(  # noqa: PLR0913 - one argument for each option
    session: Session,
    *,
    columns: Sequence[str],
    watch: bool,
    every: timedelta,
    image: str | None,
    limit: int,
    **filters: Any,
) -> None:
    """List the games on record, in order of their ids."""
    shown: Columns = {name: COLUMNS[name] for name in columns}
    for _turn in _turns(every, is_watching=watch):
        records = session.api.items("runtimes", filters, limit=limit)
        records = [record for record in records if not image or image in (record["current_image_ref"] or "")]
        if watch and session.as_json:
            session.print_json({"items": records}, on_one_line=True)
            continue
        if watch and sys.stdout.isatty():
            # With NO_COLOR click removes all control sequences; this is not a colour.
            click.echo(_CLEAR_SCREEN, nl=False, color=True)
        session.print_list(records, shown, if_empty="No matching games are on record.")


def _turns(every: timedelta, *, is_watching: bool) -> Iterator[None]:
    """Yield once, or again and again with pauses."""
    yield
    while is_watching:
        time.sleep(every.total_seconds())
        yield


@click.command()
@click.argument("game", type=GAME_ID)
@api_command()
def show(session: Session, game: str) -> None:
    """Show the record of GAME."""
    record = session.api.get(f"runtimes/{game}")
    session.print_result(record, lambda: key_values(pairs(record, _RECORD)))


@click.command()
@click.argument("game", type=GAME_ID)
@api_command(timeout="20s")
def explain(session: Session, game: str) -> None:
    """Explain the state of GAME: the cause, what happens next automatically, and what to do."""
    # Imported late: only this command needs it.
    from operations.explain.text import render  # noqa: PLC0415

    explanation = session.api.get(f"runtimes/{game}/explain")
    session.print_result(explanation, lambda: render(explanation))


@click.command()
@click.argument("game", type=GAME_ID)
@click.option("--watch", is_flag=True, help="Measure again until Ctrl-C.")
@click.option("--every", type=Duration(), default="2s", show_default=True, help="Interval of --watch.")
@api_command()
def stats(session: Session, game: str, *, watch: bool, every: timedelta) -> None:
    """Show what the container of GAME uses now: processor, memory, processes, network."""
    for _turn in _turns(every, is_watching=watch):
        usage = session.api.get(f"runtimes/{game}/stats")
        if session.as_json:
            session.print_json(usage, on_one_line=watch)
        elif watch:
            click.echo("  ".join(f"{name} {value}" for name, value in pairs(usage, _USAGE)[1:]))
        else:
            click.echo(key_values(pairs(usage, _USAGE)))

"""What is on record of games: list, show, explain, stats."""

import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import click

from rtmanager.cli.session import Session, talks_to_service
from rtmanager.cli.terminal import SHORT_ID, age, cell, clock, facts, moment, size, table
from rtmanager.cli.words import Duration, GameId

Record = dict[str, Any]

STATUSES = ("running", "stopped", "removed")
# What a column of `rtm list` is called → what it shows.
COLUMNS: dict[str, Callable[[Record], str]] = {
    "game": lambda record: record["game_id"],
    "status": lambda record: record["status"],
    "image": lambda record: cell(record["current_image_ref"]),
    "container": lambda record: cell(record["current_container_id"])[:SHORT_ID],
    "endpoint": lambda record: record["engine_endpoint"],
    "network": lambda record: record["docker_network"],
    "state": lambda record: record["state_path"],
    "started": lambda record: age(record["started_at"]),
    "stopped": lambda record: age(record["stopped_at"]),
    "removed": lambda record: age(record["removed_at"]),
    "changed": lambda record: age(record["last_op_at"]),
    "created": lambda record: age(record["created_at"]),
}
_USUAL = "game,status,image,container,started,changed"
_CLEAR = "\x1b[H\x1b[2J"


def _read_columns(_context: click.Context, _parameter: click.Parameter, text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or (unknown := [name for name in names if name not in COLUMNS]):
        message = f"{', '.join(unknown) if names else 'nothing'} is no column; there are {', '.join(COLUMNS)}."
        raise click.BadParameter(message)
    return names


@click.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only games in this status.")
@click.option("--image", metavar="TEXT", help="Only games whose image's name holds this text.")
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="At most so many are looked at.")
@click.option("--columns", callback=_read_columns, default=_USUAL, show_default=True, help=f"Of {', '.join(COLUMNS)}.")
@click.option("--watch", is_flag=True, help="Show the list anew until Ctrl-C.")
@click.option("--every", type=Duration(), default="2s", show_default=True, help="How often --watch looks.")
@talks_to_service()
def list_games(session: Session, *, columns: Sequence[str], watch: bool, every: timedelta, **filters: Any) -> None:
    """List the games on record, by their ids."""
    while True:
        records = _find(session, **filters)
        if watch and sys.stdout.isatty() and not session.as_json:
            click.echo(_CLEAR, nl=False)
        _show(session, records, columns=columns, on_one_line=watch)
        if not watch:
            return
        time.sleep(every.total_seconds())


def _find(session: Session, *, status: str | None, image: str | None, limit: int) -> list[Record]:
    records = session.api.items("runtimes", {"status": status}, limit=limit)
    return [record for record in records if not image or image in (record["current_image_ref"] or "")]


def _show(session: Session, records: list[Record], *, columns: Sequence[str], on_one_line: bool) -> None:
    if session.as_json:
        session.print_json({"items": records}, on_one_line=on_one_line)
    elif records:
        click.echo(table(columns, [[COLUMNS[name](record) for name in columns] for record in records]))
    else:
        click.echo("No such games are on record.")


@click.command()
@click.argument("game", type=GameId())
@talks_to_service()
def show(session: Session, game: str) -> None:
    """Show what is on record of GAME."""
    record = session.api.get(f"runtimes/{game}")
    session.answer(record, lambda: facts(_describe(record)))


def _describe(record: Record) -> list[tuple[str, Any]]:
    times = ("started", "stopped", "removed", "created")
    return [
        ("game", record["game_id"]),
        ("status", record["status"]),
        ("image", record["current_image_ref"]),
        ("container", record["current_container_id"]),
        ("endpoint", record["engine_endpoint"]),
        ("network", record["docker_network"]),
        ("state", record["state_path"]),
        *((name, _when(record[f"{name}_at"])) for name in times),
        ("changed", _when(record["last_op_at"])),
    ]


def _when(text: str | None) -> str:
    return f"{clock(text)} ({age(text)})" if moment(text) else "-"


@click.command()
@click.argument("game", type=GameId())
@talks_to_service(timeout="20s")
def explain(session: Session, game: str) -> None:
    """Tell why GAME is as it is, what happens next by itself, and what to do."""
    explanation = session.api.get(f"runtimes/{game}/explain")
    session.answer(explanation, lambda: _as_text(explanation))


def _as_text(explanation: Record) -> str:
    # Late: only this command needs it.
    from operations.explain_text import render  # noqa: PLC0415

    return render(explanation)


@click.command()
@click.argument("game", type=GameId())
@click.option("--watch", is_flag=True, help="Measure anew until Ctrl-C.")
@click.option("--every", type=Duration(), default="2s", show_default=True, help="How often --watch measures.")
@talks_to_service()
def stats(session: Session, game: str, *, watch: bool, every: timedelta) -> None:
    """Measure what the container of GAME uses now: processor, memory, processes, network."""
    while True:
        seen = session.api.get(f"runtimes/{game}/stats")
        if session.as_json:
            session.print_json(seen, on_one_line=watch)
        else:
            click.echo(_usage(seen) if watch else facts(_usage_facts(seen)))
        if not watch:
            return
        time.sleep(every.total_seconds())


def _usage_facts(seen: Record) -> list[tuple[str, Any]]:
    return [
        ("container", seen["container_id"][:SHORT_ID]),
        ("measured", clock(seen["at"])),
        ("processor", _percent(seen["cpu_percent"])),
        ("memory", f"{size(seen['memory_bytes'])} of {size(seen['memory_limit_bytes'])}"),
        ("processes", seen["pids"]),
        ("received", size(seen["network_rx_bytes"])),
        ("sent", size(seen["network_tx_bytes"])),
    ]


def _usage(seen: Record) -> str:
    return "  ".join(f"{name} {value}" for name, value in _usage_facts(seen)[1:])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"

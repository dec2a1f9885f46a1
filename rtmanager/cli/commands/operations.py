"""``rtm operations``, ``rtm operation`` and ``rtm events``: operations with their steps, and the published events."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from operations.kinds import KINDS
from rtmanager.cli.command import Session, api_command
from rtmanager.cli.errors import CliError, ExitCode
from rtmanager.cli.output import (
    Columns,
    Record,
    format_age,
    format_cell,
    format_duration,
    format_id,
    format_milliseconds,
    format_time,
    key_values,
    of,
    pairs,
    strip_control,
    table_of,
)
from rtmanager.cli.param_types import GAME_ID, RECORD_ID

STATES = ("accepted", "running", "finished")
OUTCOMES = ("success", "failure")
TOPICS = ("job_results", "health_events", "notification_intents", "dead_letters")
# How long the service is asked to hold a request that waits for events.
_HOLD_SECONDS = 20
_RETRY_SECONDS = 2.0


def _duration(operation: Record) -> str:
    if not operation["started_at"] or not operation["finished_at"]:
        return "-"
    took = datetime.fromisoformat(operation["finished_at"]) - datetime.fromisoformat(operation["started_at"])
    seconds = took.total_seconds()
    return format_milliseconds(round(seconds * 1000)) if seconds < 60 else format_duration(took)  # noqa: PLR2004  # a minute


def _error(operation: Record) -> str:
    code, message = operation["error_code"], operation["error_message"]
    return f"{code}: {message}" if code else message


_COLUMNS: Columns = {
    "id": "id", "game": "game_id", "kind": "op_kind", "source": "op_source", "state": "state", "outcome": "outcome",
    "accepted": of("accepted_at", format_age), "took": _duration, "error": "error_code",
}  # fmt: skip
_OPERATION: Columns = {
    "operation": "id", "game": "game_id", "kind": "op_kind",
    "requested by": lambda operation: f"{operation['op_source']} {operation['source_ref']}".strip(),
    "image": "image_ref", "container": of("container_id", format_id),
    "state": "state", "outcome": "outcome", "error": _error,
    **{name: of(f"{name}_at", format_time) for name in ("accepted", "started", "finished")},
}  # fmt: skip
_STEP: Columns = {
    "started": of("started_at", format_time), "step": "name", "took": of("duration_ms", format_milliseconds),
    "error": "error",
}  # fmt: skip


@click.command()
@click.argument("game", type=GAME_ID, required=False)
@click.option("--state", type=click.Choice(STATES), help="Only operations in this state.")
@click.option("--kind", "op_kind", type=click.Choice(list(KINDS)), help="Only operations of this kind.")
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only operations with this outcome.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Maximum number of rows.")
@api_command()
def operations(session: Session, game: str | None, *, limit: int, **filters: Any) -> None:
    """List the operations of GAME or of all games, newest first."""
    items = session.api.items("operations", {"game_id": game, **filters}, limit=limit)
    session.print_list(items, _COLUMNS, if_empty="No matching operations are on record.")


@click.command()
@click.argument("operation_id", metavar="ID", type=RECORD_ID)
@api_command()
def operation(session: Session, operation_id: str) -> None:
    """Show one operation and its steps."""
    item = session.api.get(f"operations/{operation_id}")
    session.print_result(item, lambda: f"{key_values(pairs(item, _OPERATION))}\n\n{_timeline(item)}")


def _timeline(item: Record) -> str:
    return table_of(item["steps"], _STEP) if item["steps"] else "No step has started yet."


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Print new events until Ctrl-C.")
@click.option("--topic", type=click.Choice(TOPICS), help="Only events of this topic.")
@click.option("--game", type=GAME_ID, help="Only events of this game.")
@click.option(
    "--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="Start with this many last events."
)
@api_command()
def events(session: Session, *, follow: bool, topic: str | None, game: str | None, limit: int) -> None:
    """Show what the service publishes: job results, health events, notifications, dead letters. Oldest first."""
    query = {"topic": topic, "game_id": game}
    items = session.api.get("events", {**query, "limit": limit})["items"]
    if not follow:
        session.print_result({"items": items}, lambda: "\n".join(map(_format_event, items)) or "No matching events.")
        return
    for event in _follow(session, items, query):
        if session.as_json:
            session.print_json(event, on_one_line=True)
        else:
            click.echo(_format_event(event))


def _follow(session: Session, items: list[Record], query: Record) -> Iterator[Record]:
    last, is_lost = "0", False
    while True:
        for event in items:
            yield event
            last = str(event["id"])
        try:
            items = session.api.get(
                "events", {**query, "after": last, "wait": _HOLD_SECONDS}, extra_seconds=_HOLD_SECONDS
            )["items"]
        except CliError as error:
            if error.exit_code != ExitCode.UNREACHABLE:
                raise
            # No event is lost: the next request returns all events after the last one.
            if not is_lost:
                error.show()
            items, is_lost = [], True
            time.sleep(_RETRY_SECONDS)
        else:
            is_lost = False


def _format_event(event: Record) -> str:
    fields = " ".join(f"{name}={format_cell(value)}" for name, value in event["fields"].items() if name != "game_id")
    suffix = "" if event["published_at"] else "  (not published yet)"
    created, game_id = format_time(event["created_at"]), format_cell(event["game_id"])
    return strip_control(f"{created}  {event['topic']:<20}  {game_id}  {fields}{suffix}")

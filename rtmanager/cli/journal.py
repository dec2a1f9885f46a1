"""What was done and what was said: operations with their timelines, and the events for other services."""

import time
from collections.abc import Iterator
from typing import Any

import click

from rtmanager.cli.failures import ExitCode, Failure
from rtmanager.cli.session import Session, talks_to_service
from rtmanager.cli.terminal import SHORT_ID, age, cell, clock, facts, milliseconds, moment, plain, span, table
from rtmanager.cli.words import GameId, Number

Json = dict[str, Any]

STATES = ("accepted", "running", "finished")
OUTCOMES = ("success", "failure")
KINDS = (
    "start", "stop", "restart", "patch", "cleanup_container", "reconcile_adopt", "reconcile_dispose", "reconcile_exit",
)  # fmt: skip
TOPICS = ("job_results", "health_events", "notification_intents", "dead_letters")
# How long the service is asked to hold a call that waits for events.
_HOLD_SECONDS = 20
_AGAIN_AFTER_SECONDS = 2.0


@click.command()
@click.argument("game", type=GameId(), required=False)
@click.option("--state", type=click.Choice(STATES), help="Only operations in this state.")
@click.option("--kind", "op_kind", type=click.Choice(KINDS), help="Only operations of this kind.")
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only operations that ended like this.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@talks_to_service()
def operations(session: Session, game: str | None, *, limit: int, **filters: Any) -> None:
    """List what was done, newest first: to GAME, or to all games."""
    found = session.api.items("operations", {"game_id": game, **filters}, limit=limit)
    session.answer({"items": found}, lambda: _list(found))


def _list(found: list[Json]) -> str:
    titles = ("id", "game", "kind", "source", "state", "outcome", "accepted", "took", "error")
    return table(titles, map(_row, found)) if found else "No such operations are on record."


def _row(one: Json) -> list[Any]:
    told = [one[name] for name in ("id", "game_id", "op_kind", "op_source", "state", "outcome")]
    return [*told, age(one["accepted_at"]), _took(one), one["error_code"]]


def _took(one: Json) -> str:
    started, finished = moment(one["started_at"]), moment(one["finished_at"])
    if started is None or finished is None:
        return "-"
    seconds = (finished - started).total_seconds()
    return milliseconds(round(seconds * 1000)) if seconds < 60 else span(finished - started)  # noqa: PLR2004  # a minute


@click.command()
@click.argument("operation_id", metavar="ID", type=Number())
@talks_to_service()
def operation(session: Session, operation_id: str) -> None:
    """Show one operation and the timeline of its steps."""
    one = session.api.get(f"operations/{operation_id}")
    session.answer(one, lambda: f"{facts(_describe(one))}\n\n{_timeline(one)}")


def _describe(one: Json) -> list[tuple[str, Any]]:
    return [
        ("operation", one["id"]),
        ("game", one["game_id"]),
        ("kind", one["op_kind"]),
        ("asked by", f"{one['op_source']} {one['source_ref']}".strip()),
        ("image", one["image_ref"]),
        ("container", one["container_id"][:SHORT_ID]),
        ("state", one["state"]),
        ("outcome", one["outcome"]),
        ("error", f"{one['error_code']}: {one['error_message']}" if one["error_code"] else one["error_message"]),
        *((name, clock(one[f"{name}_at"])) for name in ("accepted", "started", "finished")),
    ]


def _timeline(one: Json) -> str:
    rows = [
        (clock(step["started_at"]), step["name"], milliseconds(step["duration_ms"]), step["error"])
        for step in one["steps"]
    ]
    return table(("began", "step", "took", "error"), rows) if rows else "No step has begun yet."


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--topic", type=click.Choice(TOPICS), help="Only events of this topic.")
@click.option("--game", type=GameId(), help="Only events of this game.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="Begin with so many.")
@talks_to_service()
def events(session: Session, *, follow: bool, topic: str | None, game: str | None, limit: int) -> None:
    """Show what the service tells the others: results, health, notifications, dead letters. Oldest first."""
    query = {"topic": topic, "game_id": game}
    found = session.api.get("events", {**query, "limit": limit})["items"]
    if not follow:
        session.answer({"items": found}, lambda: "\n".join(map(_event, found)) or "No such events.")
        return
    for event in _with_those_to_come(session, found, query):
        if session.as_json:
            session.print_json(event, on_one_line=True)
        else:
            click.echo(_event(event))


def _with_those_to_come(session: Session, found: list[Json], query: Json) -> Iterator[Json]:
    last, is_lost = "0", False
    while True:
        for event in found:
            yield event
            last = str(event["id"])
        try:
            found = session.api.get(
                "events", {**query, "after": last, "wait": _HOLD_SECONDS}, extra_seconds=_HOLD_SECONDS
            )["items"]
        except Failure as failure:
            if failure.exit_code != ExitCode.UNREACHABLE:
                raise
            # Nothing is missed by going on later: the next call asks for everything since the last event.
            if not is_lost:
                failure.show()
            found, is_lost = [], True
            time.sleep(_AGAIN_AFTER_SECONDS)
        else:
            is_lost = False


def _event(event: Json) -> str:
    fields = " ".join(f"{name}={cell(value)}" for name, value in event["fields"].items() if name != "game_id")
    is_out = "" if event["published_at"] else "  (not published yet)"
    return plain(f"{clock(event['created_at'])}  {event['topic']:<20}  {cell(event['game_id'])}  {fields}{is_out}")

"""Dead letters: the jobs nobody could read, and their second life."""

from typing import Any

import click

from rtmanager.cli.failures import ExitCode, Failure
from rtmanager.cli.session import Session, talks_to_service
from rtmanager.cli.terminal import age, cell, clock, facts, table
from rtmanager.cli.words import GameId, Number

Json = dict[str, Any]


@click.group("dead-letters", no_args_is_help=True)
def dead_letters() -> None:
    """The stream entries that no job could be read from."""


@dead_letters.command("list")
@click.option("--all", "is_all", is_flag=True, help="Also those that were redriven already.")
@click.option("--game", type=GameId(), help="Only letters about this game.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@talks_to_service()
def list_letters(session: Session, *, is_all: bool, game: str | None, limit: int) -> None:
    """List the letters that wait for somebody, oldest first."""
    found = session.api.items("dead-letters", {"waiting": None if is_all else True, "game_id": game}, limit=limit)
    session.answer({"items": found}, lambda: _list(found))


def _list(found: list[Json]) -> str:
    titles = ("id", "received", "stream", "game", "reason", "redriven as")
    return table(titles, map(_row, found)) if found else "No dead letters wait."


def _row(one: Json) -> list[Any]:
    return [one["id"], age(one["received_at"]), one["stream"], one["game_id"], one["reason"], one["redriven_as"]]


@dead_letters.command()
@click.argument("letter_id", metavar="ID", type=Number())
@talks_to_service()
def show(session: Session, letter_id: str) -> None:
    """Show one letter with the fields its producer sent."""
    letter = session.api.get(f"dead-letters/{letter_id}")
    session.answer(letter, lambda: facts(_describe(letter)))


def _describe(letter: Json) -> list[tuple[str, Any]]:
    fate = f"{clock(letter['redriven_at'])} by {letter['redriven_by']} as operation {cell(letter['redriven_as'])}"
    return [
        ("dead letter", letter["id"]),
        ("entry", f"{letter['stream']} {letter['entry_id']}"),
        ("game", letter["game_id"]),
        ("reason", letter["reason"]),
        ("received", f"{clock(letter['received_at'])} ({age(letter['received_at'])})"),
        *((f"field {name}", value) for name, value in letter["fields"].items()),
        ("redriven", fate if letter["redriven_at"] else "no"),
        ("note", letter["note"]),
    ]


@dead_letters.command()
@click.argument("letter_id", metavar="ID", type=Number())
@click.option("--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Replace a field; may be given again.")
@click.option("--note", default="", metavar="TEXT", help="Why, for the record.")
@talks_to_service()
def redrive(session: Session, letter_id: str, *, changes: tuple[str, ...], note: str) -> None:
    """Make the job that a letter should have been. Done once, however often it is asked for."""
    mended = dict(_read_change(change) for change in changes)
    done = session.api.post(f"dead-letters/{letter_id}/redrive", {"set": mended, "note": note})
    session.answer(done, lambda: _became(done))


def _read_change(change: str) -> tuple[str, str]:
    name, separator, value = change.partition("=")
    if not separator or not name.strip():
        message = f"{change!r} changes nothing"
        raise Failure(message, exit_code=ExitCode.USAGE, advice="Write --set field=value.")
    return name.strip(), value


def _became(done: Json) -> str:
    operation = done["operation"]
    became = f"operation {operation['id']}, {operation['op_kind']} of {operation['game_id']}"
    if done["is_replay"]:
        return f"Dead letter {done['letter']['id']} was redriven before: it is {became}. Nothing was done."
    return f"Dead letter {done['letter']['id']} is {became}; `rtm operation {operation['id']}` shows it."

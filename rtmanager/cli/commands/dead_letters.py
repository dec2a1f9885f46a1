"""``rtm dead-letters``: the stream entries that are not valid jobs, and their redrive."""

import click

from rtmanager.cli.command import Session, api_command
from rtmanager.cli.errors import CliError, ExitCode
from rtmanager.cli.output import (
    Columns,
    Record,
    format_age,
    format_cell,
    format_time,
    format_time_and_age,
    key_values,
    of,
    pairs,
)
from rtmanager.cli.param_types import GAME_ID, RECORD_ID

_COLUMNS: Columns = {
    "id": "id", "received": of("received_at", format_age), "stream": "stream", "game": "game_id", "reason": "reason",
    "redriven as": "redriven_as",
}  # fmt: skip
_DEAD_LETTER: Columns = {
    "dead letter": "id", "entry": lambda dead_letter: f"{dead_letter['stream']} {dead_letter['entry_id']}",
    "game": "game_id", "reason": "reason", "received": of("received_at", format_time_and_age),
}  # fmt: skip


@click.group("dead-letters", no_args_is_help=True)
def dead_letters() -> None:
    """Stream entries that are not valid jobs."""


@dead_letters.command("list")
@click.option("--all", "is_all", is_flag=True, help="Include dead letters that were redriven.")
@click.option("--game", type=GAME_ID, help="Only dead letters of this game.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Maximum number of rows.")
@api_command()
def list_dead_letters(session: Session, *, is_all: bool, game: str | None, limit: int) -> None:
    """List the dead letters that need a decision, oldest first."""
    items = session.api.items("dead-letters", {"waiting": None if is_all else True, "game_id": game}, limit=limit)
    session.print_list(items, _COLUMNS, if_empty="No dead letters are waiting.")


@dead_letters.command()
@click.argument("dead_letter_id", metavar="ID", type=RECORD_ID)
@api_command()
def show(session: Session, dead_letter_id: str) -> None:
    """Show one dead letter with the fields that its producer sent."""
    dead_letter = session.api.get(f"dead-letters/{dead_letter_id}")
    session.print_result(dead_letter, lambda: _describe(dead_letter))


def _describe(dead_letter: Record) -> str:
    by, operation = dead_letter["redriven_by"], format_cell(dead_letter["redriven_as"])
    redriven = f"{format_time(dead_letter['redriven_at'])} by {by} as operation {operation}"
    return key_values(
        [
            *pairs(dead_letter, _DEAD_LETTER),
            *(
                (f"field {name}", value)
                for name, sent in dead_letter["fields"].items()
                # A repeated field has a list.
                for value in ([sent] if isinstance(sent, str) else sent)
            ),
            ("redriven", redriven if dead_letter["redriven_at"] else "no"),
            ("note", dead_letter["note"]),
        ]
    )


@dead_letters.command()
@click.argument("dead_letter_id", metavar="ID", type=RECORD_ID)
@click.option("--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Replace a field. Can be repeated.")
@click.option("--note", default="", metavar="TEXT", help="Reason, recorded with the dead letter.")
@api_command()
def redrive(session: Session, dead_letter_id: str, *, changes: tuple[str, ...], note: str) -> None:
    """Create the intended job from a dead letter. Idempotent: a second redrive returns the first operation."""
    corrections = dict(_read_change(change) for change in changes)
    result = session.api.post(f"dead-letters/{dead_letter_id}/redrive", {"set": corrections, "note": note})
    session.print_result(result, lambda: _describe_redrive(dead_letter_id, result))


def _read_change(change: str) -> tuple[str, str]:
    name, separator, value = change.partition("=")
    if not separator or not name.strip():
        raise CliError(
            f"{change!r} is not a change of a field", exit_code=ExitCode.USAGE, advice="Write --set field=value."
        )
    return name.strip(), value


def _describe_redrive(dead_letter_id: str, result: Record) -> str:
    operation = result["operation"]
    described = f"operation {operation['id']}, {operation['op_kind']} of {operation['game_id']}"
    if result["is_no_op"]:
        return f"Dead letter {dead_letter_id} was redriven before, as {described}. No change was needed."
    return f"Dead letter {dead_letter_id} is redriven as {described}. `rtm operation {operation['id']}` shows it."

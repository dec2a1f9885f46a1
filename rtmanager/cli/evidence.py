"""What containers said and how they ended: logs and black boxes."""

from typing import Any

import click

from rtmanager.cli.session import Session, talks_to_service
from rtmanager.cli.terminal import SHORT_ID, age, cell, clock, facts, plain, table
from rtmanager.cli.words import GameId, Number, Since

Json = dict[str, Any]


@click.command()
@click.argument("game", type=GameId())
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until the container ends or Ctrl-C.")
@click.option(
    "--tail", type=click.IntRange(0, 2000), default=200, show_default=True, help="Begin with the last so many lines."
)
@click.option("--since", type=Since(), metavar="10m|TIME", help="Only lines since then.")
@click.option("--timestamps", is_flag=True, help="Begin each line with its time.")
@talks_to_service()
def logs(session: Session, game: str, *, follow: bool, timestamps: bool, **bounds: Any) -> None:
    """Show what the container of GAME wrote. Its standard error comes out on standard error."""
    path, query = f"runtimes/{game}/logs", bounds
    if follow:
        lines = session.api.follow(path, {**query, "follow": True})
    else:
        answer = session.api.get(path, query)
        if session.as_json:
            session.print_json(answer)
            return
        lines = iter(answer["items"])
    for line in lines:
        _show(session, line, timestamps=timestamps)


def _show(session: Session, line: Json, *, timestamps: bool) -> None:
    if session.as_json:
        session.print_json(line, on_one_line=True)
    else:
        click.echo(_as_text(line, timestamps=timestamps), err=line["stream"] == "stderr")


def _as_text(line: Json, *, timestamps: bool) -> str:
    text = plain(line["line"])
    return f"{line['at'] or '-'}  {text}" if timestamps else text


@click.command("black-boxes")
@click.argument("game", type=GameId())
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@talks_to_service()
def black_boxes(session: Session, game: str, *, limit: int) -> None:
    """List how the containers of GAME ended, newest first."""
    found = session.api.items(f"runtimes/{game}/black-boxes", limit=limit)
    session.answer({"items": found}, lambda: _list(found))


def _list(found: list[Json]) -> str:
    if not found:
        return "No container of this game has ended yet."
    titles = ("id", "cause", "exit code", "container", "image", "ended")
    return table(
        titles,
        (
            (_id(one), one["cause"], one["exit_code"], _container(one), one["image_ref"], age(one["occurred_at"]))
            for one in found
        ),
    )


@click.command("black-box")
@click.argument("box_id", metavar="ID", type=Number())
@talks_to_service()
def black_box(session: Session, box_id: str) -> None:
    """Show one black box: how a container ended, its limits, and the last lines it wrote."""
    box = session.api.get(f"black-boxes/{box_id}")
    session.answer(box, lambda: f"{facts(_describe(box))}\n\n{_last_words(box)}")


def _describe(box: Json) -> list[tuple[str, Any]]:
    return [
        ("black box", _id(box)),
        ("game", box["game_id"]),
        ("cause", box["cause"]),
        ("exit code", box["exit_code"]),
        ("out of memory", "yes" if box["oom_killed"] else "no"),
        ("ended", f"{clock(box['occurred_at'])} ({age(box['occurred_at'])})"),
        ("container", box["container_id"]),
        ("image", box["image_ref"]),
        ("digest", box["image_digest"]),
        ("operation", box["operation_id"]),
        ("note", box["note"]),
        *((f"limit {name}", value) for name, value in box["limits"].items()),
    ]


def _last_words(box: Json) -> str:
    lines = [plain(line["line"]) for line in box["log"]]
    return "\n".join(["last lines:", *lines]) if lines else "It wrote nothing."


def _id(box: Json) -> str:
    return cell(box["id"])


def _container(box: Json) -> str:
    return cell(box["container_id"])[:SHORT_ID]

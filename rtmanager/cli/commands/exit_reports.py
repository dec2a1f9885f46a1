"""``rtm logs``, ``rtm exit-reports`` and ``rtm exit-report``: what containers wrote and how they exited."""

from typing import Any

import click

from rtmanager.cli.command import Session, api_command
from rtmanager.cli.output import (
    Columns,
    Record,
    format_age,
    format_id,
    format_time_and_age,
    key_values,
    of,
    pairs,
    strip_control,
)
from rtmanager.cli.param_types import GAME_ID, RECORD_ID, Since

_COLUMNS: Columns = {
    "id": "id", "cause": "cause", "exit code": "exit_code", "container": of("container_id", format_id),
    "image": "image_ref", "exited": of("occurred_at", format_age),
}  # fmt: skip
_REPORT: Columns = {
    "exit report": "id", "game": "game_id", "cause": "cause", "exit code": "exit_code",
    "out of memory": of("oom_killed", lambda is_oom_killed: "yes" if is_oom_killed else "no"),
    "exited": of("occurred_at", format_time_and_age), "container": "container_id", "image": "image_ref",
    "digest": "image_digest", "operation": "operation_id", "note": "note",
}  # fmt: skip


@click.command()
@click.argument("game", type=GAME_ID)
@click.option("-f", "--follow", is_flag=True, help="Print new lines until the container exits or Ctrl-C.")
@click.option(
    "--tail", type=click.IntRange(0, 2000), default=200, show_default=True, help="Start with this many last lines."
)
@click.option("--since", type=Since(), metavar="10m|TIME", help="Only lines since this time.")
@click.option("--timestamps", is_flag=True, help="Print the time of each line.")
@api_command()
def logs(session: Session, game: str, *, follow: bool, timestamps: bool, **bounds: Any) -> None:
    """Print the log of the container of GAME. Its standard error goes to standard error."""
    path = f"runtimes/{game}/logs"
    if follow:
        lines = session.api.follow(path, {**bounds, "follow": True})
    else:
        response = session.api.get(path, bounds)
        if session.as_json:
            session.print_json(response)
            return
        lines = iter(response["items"])
    for line in lines:
        if session.as_json:
            session.print_json(line, on_one_line=True)
        else:
            time = f"{line['at'] or '-'}  " if timestamps else ""
            click.echo(time + strip_control(line["line"]), err=line["stream"] == "stderr")


@click.command("exit-reports")
@click.argument("game", type=GAME_ID)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Maximum number of rows.")
@api_command()
def exit_reports(session: Session, game: str, *, limit: int) -> None:
    """List the exit reports of the containers of GAME, newest first."""
    reports = session.api.items(f"runtimes/{game}/exit-reports", limit=limit)
    session.print_list(reports, _COLUMNS, if_empty="No exit reports of this game.")


@click.command("exit-report")
@click.argument("report_id", metavar="ID", type=RECORD_ID)
@api_command()
def exit_report(session: Session, report_id: str) -> None:
    """Show one exit report: how the container exited, its limits, and its last log lines."""
    report = session.api.get(f"exit-reports/{report_id}")
    session.print_result(report, lambda: _describe(report))


def _describe(report: Record) -> str:
    limits = [(f"limit {name}", value) for name, value in report["limits"].items()]
    log = "\n".join(strip_control(line["line"]) for line in report["log"])
    last_lines = f"last log lines:\n{log}" if report["log"] else "The container wrote no log."
    return f"{key_values([*pairs(report, _REPORT), *limits])}\n\n{last_lines}"

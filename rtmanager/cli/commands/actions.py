"""The actions on a game: one command for each kind of operation that a caller can request."""

import sys
from functools import partial
from typing import Any

import click

from operations.kinds import REQUESTABLE, Kind
from rtmanager.cli.command import with_options
from rtmanager.cli.commands.mass_restart import RESTART, MassRestart, restart_all
from rtmanager.cli.errors import CliError, ExitCode
from rtmanager.cli.param_types import GAME_ID, EndCause
from rtmanager.cli.submit import Submission, action_command

REASONS = ("orphan_cleanup", "cancelled", "finished", "admin_request", "timeout")

_yes = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
_accept_empty_state = click.option(
    "--accept-empty-state",
    is_flag=True,
    help="Start with an empty state directory if the game ran before and its directory is missing.",
)
# Field of a request → its parameter of the command.
_PARAMETERS = {
    "image_ref": click.argument("image_ref", metavar="IMAGE"),
    "no_start": click.option("--no-start", is_flag=True, help="Create the container, but do not start it."),
    "accept_empty_state": _accept_empty_state,
    "reason": click.option(
        "--reason", type=click.Choice(REASONS), default="admin_request", show_default=True, help="Reason, recorded."
    ),
}


def _command(kind: Kind) -> click.Command:
    """The command of one kind, with a parameter for each field of its request."""

    def run(submission: Submission, game: str, *, yes: bool = False, **arguments: Any) -> None:
        if kind.question:
            _confirm(kind.question.format(game=game), is_sure=yes)
        submission.submit(kind, game, {name: value for name, value in arguments.items() if value})

    parameters = [click.argument("game", type=GAME_ID), *(_PARAMETERS[name] for name in kind.arguments)]
    body = with_options(action_command(run), [*parameters, *([_yes] if kind.question else [])])
    return click.command(kind.verb, help=kind.summary)(body)


@click.command()
@click.argument("game", type=GAME_ID, required=False)
@click.option("--ended-by", type=EndCause(), help="Instead of GAME: all games that are down with this cause.")
@click.option("--plan", is_flag=True, help="With --ended-by: print these games; change nothing.")
@click.option(
    "--parallel", type=click.IntRange(1, 64), default=4, show_default=True, help="With --ended-by: games at a time."
)
@click.option(
    "--max-failures",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="With --ended-by: stop after this many failures with the same error code.",
)
@_accept_empty_state
@_yes
@action_command
def restart(  # noqa: PLR0913 - one argument for each option
    submission: Submission,
    game: str | None,
    *,
    ended_by: str | None,
    plan: bool,
    parallel: int,
    max_failures: int,
    accept_empty_state: bool,
    yes: bool,
) -> None:
    """Replace the container of GAME by a new one of the same image, or of each game that is down with one cause."""
    if (game is None) == (ended_by is None):
        raise click.UsageError("Name either GAME or --ended-by.")
    if game is not None:
        if plan:
            raise click.UsageError("--plan needs --ended-by.")
        submission.submit(RESTART, game, {"accept_empty_state": True} if accept_empty_state else {})
        return
    if accept_empty_state:
        raise click.UsageError("--accept-empty-state needs GAME: it is a decision about one game.")
    if submission.is_async or submission.is_key_given:
        raise click.UsageError("--async and --key need GAME. --ended-by waits for each game, and is safe to repeat.")
    run = MassRestart(submission.session, str(ended_by), parallel=parallel, max_failures=max_failures)
    restart_all(run, only_plan=plan, confirm=partial(_confirm, is_sure=yes))


def _confirm(question: str, *, is_sure: bool) -> None:
    # A script cannot answer: without a terminal there is no question.
    if not (is_sure or not sys.stdin.isatty() or click.confirm(question)):
        raise CliError(
            "cancelled; nothing was changed",
            exit_code=ExitCode.FAILED,
            code="not_confirmed",
            advice="--yes skips the question.",
        )


ACTIONS = [restart if kind is RESTART else _command(kind) for kind in REQUESTABLE.values()]

"""What is done to a game: start, stop, restart, patch, cleanup."""

import sys

import click

from rtmanager.cli.failures import ExitCode, Failure
from rtmanager.cli.ordering import Desk, verb
from rtmanager.cli.words import GameId

REASONS = ("orphan_cleanup", "cancelled", "finished", "admin_request", "timeout")

_game = click.argument("game", type=GameId())
_image = click.argument("image")
_yes = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")


@click.command()
@_game
@_image
@click.option("--no-start", is_flag=True, help="Prepare everything, but do not start the engine.")
@verb
def start(desk: Desk, game: str, image: str, *, no_start: bool) -> None:
    """Start GAME on IMAGE. Running on it already: nothing is done."""
    body = {"image_ref": image, **({"no_start": True} if no_start else {})}
    desk.order("POST", f"runtimes/{game}/start", body)


@click.command()
@_game
@click.option(
    "--reason", type=click.Choice(REASONS), default="admin_request", show_default=True, help="Why, for the log."
)
@_yes
@verb
def stop(desk: Desk, game: str, *, reason: str, yes: bool) -> None:
    """Stop GAME gracefully, then by force. Its container and its state are kept."""
    _confirm(f"Stop game {game}? Its players lose their connection.", is_sure=yes)
    desk.order("POST", f"runtimes/{game}/stop", {"reason": reason})


@click.command()
@_game
@verb
def restart(desk: Desk, game: str) -> None:
    """Put a new container of the same image in place of GAME's."""
    desk.order("POST", f"runtimes/{game}/restart", {})


@click.command()
@_game
@_image
@verb
def patch(desk: Desk, game: str, image: str) -> None:
    """Move GAME to IMAGE, another patch version of its engine. The old one is put back when the new one fails."""
    desk.order("POST", f"runtimes/{game}/patch", {"image_ref": image})


@click.command()
@_game
@_yes
@verb
def cleanup(desk: Desk, game: str, *, yes: bool) -> None:
    """Remove the container of GAME, which must not be running. Its state directory stays."""
    _confirm(f"Remove the container of game {game}? Its logs go with it, its state directory stays.", is_sure=yes)
    desk.order("DELETE", f"runtimes/{game}/container")


def _confirm(question: str, *, is_sure: bool) -> None:
    # A script has nobody to ask, and says what it wants by being one.
    if is_sure or not sys.stdin.isatty() or click.confirm(question):
        return
    message = "nothing was done"
    raise Failure(message, exit_code=ExitCode.FAILED, code="not_confirmed", advice="With --yes nobody is asked.")

"""The program ``rtm``: all commands under one name."""

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, TextIO

import click

from rtmanager import __version__
from rtmanager.cli.commands.actions import ACTIONS
from rtmanager.cli.commands.dead_letters import dead_letters
from rtmanager.cli.commands.exit_reports import exit_report, exit_reports, logs
from rtmanager.cli.commands.games import explain, list_games, show, stats
from rtmanager.cli.commands.operations import events, operation, operations
from rtmanager.cli.commands.service import completion, doctor, version
from rtmanager.cli.connection import colours_are_off
from rtmanager.cli.errors import CliError, ExitCode

COMMANDS: tuple[click.Command, ...] = (
    list_games, show, explain, *ACTIONS, logs, stats, operations, operation, events,
    dead_letters, exit_reports, exit_report, doctor, completion, version,
)  # fmt: skip


class Program(click.Group):
    """All commands, with the promises of every command: no colours with NO_COLOR, and no traceback."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """``--help`` lists the commands in the order of ``COMMANDS``: read, act, repair."""
        return list(self.commands)

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command. An error that click does not handle becomes a sentence and an exit code."""
        _open_missing_streams()
        if colours_are_off():
            options.setdefault("color", False)
        try:
            return super().main(*args, **options)
        except OSError as error:
            message, advice = f"cannot read or write: {error.strerror or error}", "Check where the output goes."
        except Exception as error:  # noqa: BLE001  # the boundary of the program: users and scripts read no traceback
            message = f"unexpected error: {type(error).__name__}: {error}"
            advice = "Report it, with the command and `rtm version`."
        finally:
            # Python writes the rest of its buffers at exit; on a full device that would be another error.
            _discard_if_full(sys.stdout)
            _discard_if_full(sys.stderr)
        CliError(message, exit_code=ExitCode.FAILED, advice=advice).show()
        sys.exit(ExitCode.FAILED)


@click.group(
    cls=Program,
    commands=COMMANDS,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="\b\nExit codes:\n" + "\n".join(f"{code.value:>5}  {code.meaning}" for code in ExitCode),
)
@click.version_option(__version__, prog_name="rtm", message="%(prog)s %(version)s")
def cli() -> None:
    """Inspect and manage the games of a Runtime Manager.

    RTM_URL is the address of the service, by default http://127.0.0.1:8096. The token is in RTM_TOKEN or in a file.
    """


def main() -> None:
    """Entry point of the script ``rtm``."""
    cli(prog_name="rtm")


def _open_missing_streams() -> None:
    """A shell that closes a stream (``<&-``) leaves none; an empty one is in its place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123  # for the whole run
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal that lacks a character shows a question mark.
        sys.stdout.reconfigure(errors="replace")


def _discard_if_full(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

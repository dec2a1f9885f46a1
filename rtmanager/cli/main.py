"""The program ``rtm``: all commands under one name."""

import click

from rtmanager import __version__
from rtmanager.cli.checkup import doctor
from rtmanager.cli.evidence import black_box, black_boxes, logs
from rtmanager.cli.failures import ExitCode
from rtmanager.cli.journal import events, operation, operations
from rtmanager.cli.letters import dead_letters
from rtmanager.cli.reading import explain, list_games, show, stats
from rtmanager.cli.shell import completion, version
from rtmanager.cli.verbs import cleanup, patch, restart, start, stop

COMMANDS: tuple[click.Command, ...] = (
    list_games, show, explain, start, stop, restart, patch, cleanup, logs, stats, operations, operation, events,
    dead_letters, black_boxes, black_box, doctor, completion, version,
)  # fmt: skip
EXIT_CODES: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "the operation failed, or a check of doctor did",
    ExitCode.USAGE: "the command or its input cannot be meant",
    ExitCode.NOT_FOUND: "there is no such game, operation, letter or box",
    ExitCode.CONFLICT: "the game is busy, or its state forbids it",
    ExitCode.UNREACHABLE: "the service, or a server it needs, does not answer",
    ExitCode.NOT_ALLOWED: "the token is missing, refused or lacks a scope",
    ExitCode.STILL_RUNNING: "the time was over; the operation goes on",
    ExitCode.INTERRUPTED: "Ctrl-C",
}


class InOrder(click.Group):
    """Help lists the commands as they are told here: from looking to doing to mending."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order they were added."""
        del ctx
        return list(self.commands)


@click.group(
    cls=InOrder,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="\b\nExit codes:\n" + "\n".join(f"{code.value:>5}  {meaning}" for code, meaning in EXIT_CODES.items()),
)
@click.version_option(__version__, prog_name="rtm", message="%(prog)s %(version)s")
def cli() -> None:
    """Look at and look after the games of a Runtime Manager.

    The service is the one at RTM_URL, by default http://127.0.0.1:8096; the token is in RTM_TOKEN or in a file.
    """


for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """The entry point of the script."""
    cli(prog_name="rtm")

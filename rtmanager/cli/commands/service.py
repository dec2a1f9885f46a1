"""``rtm doctor``, ``rtm completion`` and ``rtm version``."""

from collections.abc import Iterable

import click
from click.shell_completion import get_completion_class

from rtmanager import __version__
from rtmanager.cli.command import Session, api_command
from rtmanager.cli.errors import CliError, ExitCode
from rtmanager.cli.output import Record, plural, strip_control

_MARKS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "failed": ("FAILED", "red")}
# Shell → how its user installs the completion.
_INSTALL = {
    "bash": 'eval "$(rtm completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(rtm completion zsh)"  in ~/.zshrc',
    "fish": "rtm completion fish > ~/.config/fish/completions/rtm.fish",
}


@click.command()
@click.option("--problems", is_flag=True, help="Show only warnings and failures.")
@api_command(timeout="30s")
def doctor(session: Session, *, problems: bool) -> None:
    """Check every dependency and setting of the service; show a fix for each problem."""
    checks = [check for check in session.api.get("doctor")["checks"] if not problems or check["status"] != "ok"]
    # click removes the colours if standard output is not a terminal.
    session.print_result({"checks": checks}, lambda: report(checks, is_coloured=True) or "No problems found.")
    failed = [check["name"] for check in checks if check["status"] == "failed"]
    if failed:
        raise CliError(
            f"{plural(len(failed), 'check')} failed: {', '.join(failed)}",
            exit_code=ExitCode.FAILED,
            code="unhealthy",
            advice="Follow the advice of each check.",
        )


def report(checks: Iterable[Record], *, is_coloured: bool) -> str:
    """Format all checks."""
    text = "\n".join(map(_describe, checks))
    return text if is_coloured else click.unstyle(text)


def _describe(check: Record) -> str:
    mark, colour = _MARKS[check["status"]]
    line = f"{click.style(mark.ljust(8), fg=colour)} {check['name']:<22} {strip_control(check['found'])}"
    return f"{line}\n{' ' * 32}{strip_control(check['advice'])}" if check["advice"] else line


@click.command(epilog="\b\n" + "\n".join(_INSTALL.values()))
@click.argument("shell", type=click.Choice(list(_INSTALL)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of rtm for SHELL."""
    completion_class = get_completion_class(shell)
    if completion_class is None:
        raise CliError(f"click has no completion for {shell}", exit_code=ExitCode.FAILED)
    script = completion_class(context.find_root().command, {}, "rtm", "_RTM_COMPLETE")
    # Not source(): for bash it starts a shell to check the version, which may not be the user's shell.
    click.echo(script.source_template % script.source_vars())


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"rtm {__version__}")

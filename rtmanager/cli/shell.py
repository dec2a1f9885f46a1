"""What concerns the command line itself: completion and version."""

import click
from click.shell_completion import get_completion_class

from rtmanager import __version__
from rtmanager.cli.failures import ExitCode, Failure

SHELLS = ("bash", "zsh", "fish")
_WHERE = {
    "bash": 'eval "$(rtm completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(rtm completion zsh)"  in ~/.zshrc',
    "fish": "rtm completion fish > ~/.config/fish/completions/rtm.fish",
}


@click.command(epilog="\b\n" + "\n".join(_WHERE.values()))
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete the words of rtm."""
    completing = get_completion_class(shell)
    if completing is None:
        message = f"click completes nothing in {shell}"
        raise Failure(message, exit_code=ExitCode.FAILED)
    made = completing(context.find_root().command, {}, "rtm", "_RTM_COMPLETE")
    # Not source(): for bash it starts one to ask for its version, which says nothing about the reader's.
    click.echo(made.source_template % made.source_vars())


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"rtm {__version__}")

"""What every command that talks to the service has: the same five options, one connection, one way to answer."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any

import click

from rtmanager.cli.connection import DEFAULT_CONFIG, DEFAULT_URL, read_connection
from rtmanager.cli.failures import ExitCode, Failure
from rtmanager.cli.words import Duration

if TYPE_CHECKING:
    from rtmanager.cli.api import Api

Command = Callable[..., Any]


@dataclass
class Session:
    """One call of a command. Made before it runs, closed after; reads nothing before ``api`` is first asked for."""

    url: str | None
    token_file: str | None
    config: str | None
    timeout: timedelta
    as_json: bool

    @cached_property
    def api(self) -> "Api":
        """The service."""
        # Late: help, completion and usage errors need not wait for an HTTP library.
        from rtmanager.cli.api import Api  # noqa: PLC0415

        connection = read_connection(url=self.url, token_file=self.token_file, config=self.config)
        return Api(connection, timeout_seconds=self.timeout.total_seconds())

    def close(self) -> None:
        """Drop the connection, if one was made."""
        if "api" in self.__dict__:
            self.api.__exit__(None, None, None)

    def answer(self, data: Any, text: str | Callable[[], str]) -> None:
        """Print the data as JSON where that was asked for, else the text."""
        if self.as_json:
            self.print_json(data)
        else:
            click.echo(text if isinstance(text, str) else text())

    def print_json(self, data: Any, *, on_one_line: bool = False) -> None:
        """Print data as the API has it; what is followed comes as one object per line."""
        click.echo(json.dumps(data, indent=None if on_one_line else 2, ensure_ascii=False))


def talks_to_service(*, timeout: str = "10s") -> Callable[[Command], Command]:
    """Make a function a command's body: it gets a Session first, and its failures end with their exit codes.

    ``timeout`` is how long the command may take unless ``--timeout`` says otherwise.
    """

    def decorate(body: Command) -> Command:
        @wraps(body)
        def run(
            *args: Any,
            url: str | None,
            token_file: str | None,
            config: str | None,
            timeout: timedelta,
            as_json: bool,
            **kw: Any,
        ) -> None:
            _run(body, Session(url, token_file, config, timeout, as_json), *args, **kw)

        return with_options(run, _options(timeout))

    return decorate


def with_options(body: Command, options: Iterable[Callable[[Command], Command]]) -> Command:
    """The body under these options, which help shows in this order."""
    for option in reversed(list(options)):
        body = option(body)
    return body


def _run(body: Command, session: Session, *args: Any, **options: Any) -> None:
    try:
        body(session, *args, **options)
    except Failure as failure:
        failure.as_json = session.as_json
        raise
    except (KeyboardInterrupt, click.Abort):
        raise _Interrupted from None
    finally:
        session.close()


class _Interrupted(click.exceptions.Exit):
    """Ctrl-C: nothing to say, only a code to leave with."""

    def __init__(self) -> None:
        super().__init__(ExitCode.INTERRUPTED)


def _options(timeout: str) -> list[Callable[[Command], Command]]:
    return [
        click.option("--url", envvar="RTM_URL", metavar="URL", help=f"The service.  [RTM_URL; default: {DEFAULT_URL}]"),
        click.option(
            "--token-file",
            envvar="RTM_TOKEN_FILE",
            metavar="FILE",
            help="A file that holds the token; else RTM_TOKEN does.",
        ),
        click.option("--config", envvar="RTM_CONFIG", metavar="FILE", help=f"Read instead of {DEFAULT_CONFIG}."),
        click.option(
            "--timeout", type=Duration(), default=timeout, show_default=True, help="How long the command may take."
        ),
        click.option("--json", "as_json", is_flag=True, help="Answer as JSON."),
    ]

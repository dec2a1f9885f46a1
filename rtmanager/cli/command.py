"""What all commands that call the service share: five options, one connection, and the output as text or JSON."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any

import click

from rtmanager.cli.connection import DEFAULT_CONFIG, DEFAULT_URL, read_connection
from rtmanager.cli.errors import CliError, ExitCode
from rtmanager.cli.output import Columns, Record, table_of
from rtmanager.cli.param_types import Duration

if TYPE_CHECKING:
    from rtmanager.cli.api import Api

Command = Callable[..., Any]


@dataclass
class Session:
    """One invocation of a command. It reads no file and opens no connection until ``api`` is first used."""

    url: str | None
    token_file: str | None
    config: str | None
    timeout: timedelta
    as_json: bool

    @cached_property
    def api(self) -> "Api":
        """The client of the service."""
        # Imported late: help, completion and usage errors do not need an HTTP library.
        from rtmanager.cli.api import Api  # noqa: PLC0415

        connection = read_connection(url=self.url, token_file=self.token_file, config=self.config)
        api = Api(connection, timeout_seconds=self.timeout.total_seconds())
        click.get_current_context().call_on_close(api.close)
        return api

    def print_result(self, data: Any, text: str | Callable[[], str]) -> None:
        """Print the data as JSON with ``--json``, else the text."""
        if self.as_json:
            self.print_json(data)
        else:
            click.echo(text if isinstance(text, str) else text())

    def print_list(self, records: list[Record], columns: Columns, *, if_empty: str) -> None:
        """Print a list of the API as a table, or as JSON with ``--json``."""
        self.print_result({"items": records}, lambda: table_of(records, columns) if records else if_empty)

    def print_json(self, data: Any, *, on_one_line: bool = False) -> None:
        """Print data in the form of the API. Followed data is printed as one object per line."""
        click.echo(json.dumps(data, indent=None if on_one_line else 2, ensure_ascii=False))


def api_command(*, timeout: str = "10s") -> Callable[[Command], Command]:
    """Make a function the body of a command: it receives a Session first, and a CliError sets the exit code.

    ``timeout`` is the default of ``--timeout``.
    """
    service_options = [
        click.option(
            "--url", envvar="RTM_URL", metavar="URL", help=f"Address of the service.  [RTM_URL; default: {DEFAULT_URL}]"
        ),
        click.option(
            "--token-file",
            envvar="RTM_TOKEN_FILE",
            metavar="FILE",
            help="File that contains the token. Without it, RTM_TOKEN is used.",
        ),
        click.option("--config", envvar="RTM_CONFIG", metavar="FILE", help=f"Read this file, not {DEFAULT_CONFIG}."),
        click.option(
            "--timeout", type=Duration(), default=timeout, show_default=True, help="Time limit of the command."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    ]

    def decorate(body: Command) -> Command:
        @wraps(body)
        def run(*args: Any, **options: Any) -> None:
            session = Session(**{field.name: options.pop(field.name) for field in fields(Session)})
            try:
                body(session, *args, **options)
            except CliError as error:
                error.as_json = session.as_json
                raise
            except (KeyboardInterrupt, click.Abort):
                raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None

        return with_options(run, service_options)

    return decorate


def with_options(body: Command, options: Iterable[Callable[[Command], Command]]) -> Command:
    """Add options to a body. ``--help`` shows them in this order."""
    for option in reversed(list(options)):
        body = option(body)
    return body

"""Submits one operation per invocation, waits for it unless ``--async`` is given, and prints the result."""

import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from operations.kinds import Kind
from rtmanager.cli.command import Command, Session, api_command, with_options
from rtmanager.cli.errors import CliError, ExitCode, error_from_code
from rtmanager.cli.output import Record, format_id, format_milliseconds, strip_control

FIRST_POLL_SECONDS = 0.1
LONGEST_POLL_SECONDS = 1.0
NO_OP = "replay_no_op"
# Status of the record → the result as a sentence.
_RESULTS = {
    "running": "{game_id} is running on {current_image_ref}; container {container}, {engine_endpoint}.",
    "stopped": "{game_id} is stopped; container {container} is kept.",
    "removed": "{game_id} is removed; its state directory {state_path} stays.",
}


@dataclass(frozen=True, slots=True)
class Submission:
    """Submits the operation of one invocation. ``key`` is the idempotency key: submitted again, it runs once."""

    session: Session
    key: str
    is_async: bool
    is_key_given: bool = False

    def submit(self, kind: Kind, game_id: str, arguments: Record) -> None:
        """Run the operation and print its result. Raises CliError if it is rejected, fails or takes too long."""
        operation = submit(self.session, kind, game_id, arguments, key=self.key)
        shown = f"`rtm operation {operation['id']}` shows it."
        if self.is_async:
            self.session.print_result(operation, f"Operation {operation['id']} is accepted. {shown}")
            return
        try:
            operation = wait_until_finished(self.session, operation, progress=Progress(is_shown=sys.stderr.isatty()))
        except KeyboardInterrupt:
            click.echo(f"\nOperation {operation['id']} continues. {shown}", err=True)
            raise
        if operation["outcome"] != "success":
            subject = f"{operation['op_kind']} of {operation['game_id']} failed (operation {operation['id']})"
            raise error_from_code(operation["error_code"], f"{subject}: {operation['error_message']}")
        self.session.print_result(operation, lambda: self._describe(operation))

    def _describe(self, operation: Record) -> str:
        record = self.session.api.get(f"runtimes/{operation['game_id']}")
        result = _RESULTS[record["status"]].format(**record, container=format_id(record["current_container_id"]))
        return strip_control(f"{result} No change was needed." if operation["error_code"] == NO_OP else result)


@dataclass
class Progress:
    """Prints new steps to standard error if that is a terminal. Scripts see no progress."""

    is_shown: bool
    _printed: int = 0

    def begin(self, operation: Record) -> None:
        """Print that the operation is accepted."""
        self._print(f"{operation['op_kind']} of {operation['game_id']} is accepted as operation {operation['id']}")

    def update(self, operation: Record) -> None:
        """Print the steps that finished since the last update."""
        finished = [step for step in operation["steps"] if step["duration_ms"] is not None]
        # A new attempt starts an empty list of steps: then all of them are new.
        for step in finished[self._printed :] if len(finished) >= self._printed else finished:
            duration = format_milliseconds(step["duration_ms"])
            self._print(f"  {strip_control(step['name']):<20} {duration:>8}  {strip_control(step['error'])}".rstrip())
        self._printed = len(finished)

    def _print(self, text: str) -> None:
        if self.is_shown:
            click.echo(text, err=True)


def action_command(body: Callable[..., None]) -> Command:
    """Pass a Submission to the body of a command, and add the options that all actions share."""

    @wraps(body)
    def run(session: Session, *args: Any, is_async: bool, key: str | None, **options: Any) -> None:
        submission = Submission(
            session, key or f"rtm-{uuid.uuid4().hex}", is_async=is_async, is_key_given=key is not None
        )
        body(submission, *args, **options)

    return with_options(
        run,
        [
            click.option("--async", "is_async", is_flag=True, help="Return as soon as the operation is accepted."),
            click.option(
                "--key", metavar="TEXT", help="Idempotency key: used again within 24 hours, the operation runs once."
            ),
            api_command(timeout="10m"),
        ],
    )


def submit(session: Session, kind: Kind, game_id: str, arguments: Record, *, key: str) -> Record:
    """Request an operation of this kind; return its record. Raises CliError if it is rejected."""
    return session.api.submit(kind.rest_method, f"runtimes/{game_id}/{kind.rest_path}", body=arguments, key=key)


def wait_until_finished(
    session: Session, operation: Record, *, progress: Progress, pause: Callable[[float], None] = time.sleep
) -> Record:
    """Poll an operation until it is finished; return its record. Raises CliError if the time of the command is over.

    Polls again after a lost connection: the operation does not depend on this client.
    """
    progress.begin(operation)
    seconds = FIRST_POLL_SECONDS
    while operation["state"] != "finished":
        if session.api.seconds_left <= 0:
            raise _still_running(operation)
        pause(min(seconds, session.api.seconds_left))
        seconds = min(seconds * 1.5, LONGEST_POLL_SECONDS)
        operation = fetch_operation(session, operation)
        progress.update(operation)
    progress.update(operation)
    return operation


def fetch_operation(session: Session, operation: Record) -> Record:
    """Return the current record of an operation, or the given one if the service does not respond."""
    try:
        return session.api.get(f"operations/{operation['id']}")
    except CliError as error:
        if error.exit_code != ExitCode.UNREACHABLE:
            raise
        return operation


def _still_running(operation: Record) -> CliError:
    return CliError(
        f"timeout; operation {operation['id']} ({operation['op_kind']} of {operation['game_id']}) continues",
        exit_code=ExitCode.STILL_RUNNING,
        code="still_running",
        advice=f"`rtm operation {operation['id']}` shows its state; --timeout 30m waits longer.",
    )

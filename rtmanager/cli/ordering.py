"""Placing an order for a deed: once per invocation, waited for unless told not to, told in a sentence."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from rtmanager.cli.failures import failure_of
from rtmanager.cli.progress import Operation, Progress, wait_for_end
from rtmanager.cli.session import Command, Session, talks_to_service, with_options
from rtmanager.cli.terminal import SHORT_ID, plain

_REPLAY = "replay_no_op"
# How the record reads when a verb went well.
_SENTENCES = {
    "running": "{game_id} is running on {current_image_ref}; container {container}, {engine_endpoint}.",
    "stopped": "{game_id} is stopped; container {container} is kept.",
    "removed": "{game_id} is removed; its state directory {state_path} stays.",
}


@dataclass(frozen=True, slots=True)
class Desk:
    """Where one invocation places its order. ``key`` names it: asked again, it is done once."""

    session: Session
    key: str
    is_async: bool

    def order(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        """Have it done and tell how it went. Raises Failure when it was refused, failed or takes too long."""
        operation = self.session.api.order(method, path, body=body, key=self.key)
        if self.is_async:
            self.session.answer(operation, f"Operation {operation['id']} is on record; {_where_to_look(operation)}.")
        else:
            self._tell(self._wait(operation))

    def _wait(self, operation: Operation) -> Operation:
        try:
            return wait_for_end(self.session, operation, progress=Progress())
        except KeyboardInterrupt:
            click.echo(f"\nOperation {operation['id']} goes on; {_where_to_look(operation)}.", err=True)
            raise

    def _tell(self, operation: Operation) -> None:
        if operation["outcome"] != "success":
            what = f"{operation['op_kind']} of {operation['game_id']} failed (operation {operation['id']})"
            raise failure_of(operation["error_code"], f"{what}: {operation['error_message']}")
        self.session.answer(operation, lambda: self._describe(operation))

    def _describe(self, operation: Operation) -> str:
        record = self.session.api.get(f"runtimes/{operation['game_id']}")
        told = {**record, "container": (record["current_container_id"] or "-")[:SHORT_ID]}
        done = _SENTENCES[record["status"]].format(**told)
        return plain(f"{done} Nothing had to be done." if operation["error_code"] == _REPLAY else done)


def verb(body: Callable[..., None]) -> Command:
    """Give a command's body a Desk, and the command the options of every verb."""

    @wraps(body)
    def run(session: Session, *args: Any, is_async: bool, key: str | None, **options: Any) -> None:
        body(Desk(session, key=key or f"rtm-{uuid.uuid4().hex}", is_async=is_async), *args, **options)

    return with_options(
        run,
        [
            click.option("--async", "is_async", is_flag=True, help="Return as soon as the operation is on record."),
            click.option("--key", metavar="TEXT", help="Idempotency key: used again within 24 hours, it is done once."),
            talks_to_service(timeout="10m"),
        ],
    )


def _where_to_look(operation: Operation) -> str:
    return f"`rtm operation {operation['id']}` shows it"

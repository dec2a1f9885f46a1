"""Waiting for an operation: looking at it until it has ended, and telling each step as it goes."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from rtmanager.cli.failures import ExitCode, Failure
from rtmanager.cli.session import Session
from rtmanager.cli.terminal import milliseconds, plain

_FIRST_LOOK_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0

Operation = dict[str, Any]


def _is_watched() -> bool:
    return sys.stderr.isatty()


@dataclass
class Progress:
    """Tells people what is new at each look, on standard error; scripts are told nothing."""

    is_shown: bool = field(default_factory=_is_watched)
    _told: int = 0

    def begin(self, operation: Operation) -> None:
        """Say that it is on record."""
        self._say(f"{operation['op_kind']} of {operation['game_id']} is on record as operation {operation['id']}")

    def look(self, operation: Operation) -> None:
        """Say which steps have ended since the last look."""
        ended = [step for step in operation["steps"] if step["duration_ms"] is not None]
        for step in _since(self._told, ended):
            self._say(
                f"  {plain(step['name']):<20} {milliseconds(step['duration_ms']):>8}  {plain(step['error'])}".rstrip()
            )
        self._told = len(ended)

    def _say(self, text: str) -> None:
        if self.is_shown:
            click.echo(text, err=True)


def wait_for_end(
    session: Session, operation: Operation, *, progress: Progress, pause: Callable[[float], None] = time.sleep
) -> Operation:
    """Look at an operation until it is finished; its last form. Raises Failure when the command's time is over first.

    A look that gets no answer is repeated: the operation goes on whether anybody looks or not.
    """
    progress.begin(operation)
    seconds = _FIRST_LOOK_SECONDS
    while operation["state"] != "finished":
        if session.api.seconds_left <= 0:
            raise _still_running(operation)
        pause(min(seconds, session.api.seconds_left))
        seconds = min(seconds * 1.5, _LONGEST_PAUSE_SECONDS)
        operation = _look(session, operation)
        progress.look(operation)
    progress.look(operation)
    return operation


def _look(session: Session, operation: Operation) -> Operation:
    try:
        return session.api.get(f"operations/{operation['id']}")
    except Failure as failure:
        if failure.exit_code != ExitCode.UNREACHABLE:
            raise
        return operation


def _since(told: int, steps: Sequence[Any]) -> Sequence[Any]:
    # A new attempt begins its steps anew: then all of them are news.
    return steps[told:] if len(steps) >= told else steps


def _still_running(operation: Operation) -> Failure:
    message = (
        f"operation {operation['id']} ({operation['op_kind']} of {operation['game_id']}) goes on, the time is over"
    )
    advice = f"`rtm operation {operation['id']}` tells how it goes; with --timeout 30m it is waited for longer."
    return Failure(message, exit_code=ExitCode.STILL_RUNNING, code="still_running", advice=advice)

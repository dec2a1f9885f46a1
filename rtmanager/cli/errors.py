"""How a command fails: an exit code for scripts; a message and a next step for users."""

import json
from collections.abc import Mapping
from contextlib import suppress
from enum import IntEnum
from typing import IO, Any, Self

import click

from rtmanager.cli.output import strip_control


class ExitCode(IntEnum):
    """Stable exit codes for scripts, with their meaning; documented in docs/cli.md."""

    meaning: str

    OK = 0, "success"
    FAILED = 1, "the operation or a check of doctor failed, or the output cannot be written"
    USAGE = 2, "invalid command or input"
    NOT_FOUND = 3, "no such game, operation, dead letter or exit report"
    CONFLICT = 4, "the game is busy, or its state does not allow the action"
    UNREACHABLE = 5, "the service, or a server it needs, does not respond"
    NOT_ALLOWED = 6, "the token is missing, invalid or lacks a scope"
    STILL_RUNNING = 7, "timeout; the operation continues"
    INTERRUPTED = 130, "Ctrl-C"

    def __new__(cls, code: int, meaning: str) -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member


# Error code of the API → exit code. Every other code belongs to an operation that ran and failed: FAILED.
_EXIT_OF_CODE: Mapping[str, ExitCode] = {
    "invalid_request": ExitCode.USAGE,
    "not_found": ExitCode.NOT_FOUND,
    "conflict": ExitCode.CONFLICT,
    "service_unavailable": ExitCode.UNREACHABLE,
    "docker_unavailable": ExitCode.UNREACHABLE,
    "unauthorized": ExitCode.NOT_ALLOWED,
    "forbidden": ExitCode.NOT_ALLOWED,
}

ADVICE: Mapping[str, str] = {
    "invalid_request": "Correct the value that the message names; --help shows the syntax.",
    "start_config_invalid": "Fix the cause, then retry; `rtm doctor` checks the whole installation.",
    "image_ref_not_semver": "A patch needs tags like 1.4.2 on both images. For other tags use stop and start.",
    "semver_patch_only": "Only the patch level may change. For another version use stop and start.",
    "not_found": "See `rtm list` for games, `rtm operations` for operations, `rtm dead-letters list` for dead letters.",
    "conflict": "Do first what the message says. `rtm explain GAME` shows the state and any open operation.",
    "image_pull_failed": "Check the image name and that the Docker host can pull it. Details: `rtm explain GAME`.",
    "container_start_failed": "See `rtm explain GAME` and `rtm exit-reports GAME` for the container's output.",
    "docker_unavailable": "`rtm doctor` shows why Docker does not respond; retry when it does.",
    "service_unavailable": "`rtm doctor` shows which server does not respond; retry later.",
    "internal_error": "Report it, with the log lines of the request or operation that the message names.",
    "unauthorized": "Set RTM_TOKEN or --token-file to a valid token; `manage.py api_token create` creates one.",
    "forbidden": "Use a token with that scope; `manage.py api_token list` shows the scopes of each token.",
}


class CliError(click.ClickException):
    """A command failed. ``advice`` is the next step for the user."""

    def __init__(self, message: str, *, exit_code: ExitCode, code: str = "", advice: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads the instance; its type hint says class
        self.code = code or exit_code.name.lower()
        self.advice = advice
        self.as_json = False

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the error to standard error: one line of JSON with ``--json``, else sentences."""
        text = f"{click.style('rtm:', fg='red')} {strip_control(sentence(self.message))}"
        if self.as_json:
            text = json.dumps({"error": {"code": self.code, "message": self.message, "advice": self.advice}})
        elif self.advice:
            text += f"\n     {self.advice}"
        # Where standard error is full, the exit code still says what happened.
        with suppress(OSError):
            click.echo(text, file=file, err=file is None, color=self.show_color)


def error_from_code(code: str, message: str) -> CliError:
    """Return the CliError for an error code of the API."""
    exit_code = _EXIT_OF_CODE.get(code, ExitCode.FAILED)
    return CliError(message or code, exit_code=exit_code, code=code, advice=ADVICE.get(code, ""))


def sentence(text: str) -> str:
    """Return the text with a full stop, unless it ends with one of ``.!?…``."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."

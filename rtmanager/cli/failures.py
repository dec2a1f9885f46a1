"""How a command ends when it does not end well: an exit code for scripts, a sentence and what to do for people."""

import json
from collections.abc import Mapping
from enum import IntEnum
from typing import IO, Any

import click

from rtmanager.cli.terminal import plain


class ExitCode(IntEnum):
    """What scripts may rely on; documented in docs/cli.md."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNREACHABLE = 5
    NOT_ALLOWED = 6
    STILL_RUNNING = 7
    INTERRUPTED = 130


# Error code of the API → how a command ends. Every other code is a deed that was tried and failed.
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
    "invalid_request": "Change what the message names; --help shows how a command is written.",
    "start_config_invalid": "Mend what the message names, then try again; `rtm doctor` checks the whole installation.",
    "image_ref_not_semver": "A patch needs tags like 1.4.2 on both images; stop and start also take others.",
    "semver_patch_only": "Only the patch level may change; use stop and start for another version.",
    "not_found": "`rtm list` shows the games on record, `rtm operations` and `rtm dead-letters list` the rest.",
    "conflict": "`rtm explain GAME` tells what the game is doing; try again when that has ended.",
    "image_pull_failed": "Check the image's name and that the Docker host may pull it; `rtm explain GAME` tells more.",
    "container_start_failed": "`rtm explain GAME` and `rtm black-boxes GAME` show what the container said.",
    "docker_unavailable": "`rtm doctor` tells what is wrong with Docker; try again when it answers.",
    "service_unavailable": "`rtm doctor` tells which server is away; try again later.",
    "internal_error": "Report it with the log lines of the request or operation that the message names.",
    "unauthorized": "Put a valid token into RTM_TOKEN or behind --token-file; `manage.py api_token create` makes one.",
    "forbidden": "Use a token with that scope; `manage.py api_token list` shows which have it.",
}


class Failure(click.ClickException):
    """The end of a command that could not do what it was asked. ``advice`` says what to do about it."""

    def __init__(self, message: str, *, exit_code: ExitCode, code: str = "", advice: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance; its hint says class
        self.code = code or exit_code.name.lower()
        self.advice = advice
        self.as_json = False

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it to standard error: as one line of JSON where JSON was asked for, else as sentences."""
        if self.as_json:
            error = {"code": self.code, "message": self.message, "advice": self.advice}
            click.echo(json.dumps({"error": error}), file=file, err=file is None)
            return
        click.echo(f"{click.style('rtm:', fg='red')} {plain(sentence(self.message))}", file=file, err=file is None)
        if self.advice:
            click.echo(f"     {self.advice}", file=file, err=file is None)


def failure_of(code: str, message: str) -> Failure:
    """The failure that an error code of the API stands for."""
    exit_code = _EXIT_OF_CODE.get(code, ExitCode.FAILED)
    return Failure(message or code, exit_code=exit_code, code=code, advice=ADVICE.get(code, ""))


def sentence(text: str) -> str:
    """The text with a full stop, unless it ends with something of the kind."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."

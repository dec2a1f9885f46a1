"""``rtm`` is held against the page that documents it, and the page against ``rtm``."""

import re
from collections.abc import Iterator

import click

from operations.states import OperationState, Outcome, StopReason, Topic
from rtmanager import __version__
from rtmanager.cli.commands import actions, games, operations
from rtmanager.cli.errors import ADVICE, ExitCode
from rtmanager.cli.main import cli
from rtmanager.cli.param_types import END_CAUSES
from runtimes.api.base.openapi import ERROR_CODES
from runtimes.states import EndedBy, RuntimeStatus
from tests.meta.source import document, project

PAGE = document("docs/cli.md")
_COMMAND_ROW = re.compile(r"^\| `rtm ([^`]+)` \|([^|]*)\| [^|]+ \|$", re.MULTILINE)
_CODE_ROW = re.compile(r"^\| (\d+) \| ([^|]+) \|$", re.MULTILINE)
_OF_EVERY_COMMAND = {"--url", "--token-file", "--config", "--timeout", "--json"}


def leaves(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, *path, name)
        else:
            yield " ".join([*path, name, *map(_as_written, _arguments(command))]), command


def _arguments(command: click.Command) -> list[click.Argument]:
    return [one for one in command.params if isinstance(one, click.Argument)]


def _as_written(argument: click.Argument) -> str:
    name = argument.metavar or (argument.name or "").upper()
    return name if argument.required else f"[{name}]"


def _own_options(command: click.Command) -> set[str]:
    return {name for one in command.params for name in one.opts if name.startswith("--")} - _OF_EVERY_COMMAND


def test_every_command_is_documented_with_its_options_and_no_other() -> None:
    documented = {usage: set(re.findall(r"--[a-z-]+", options)) for usage, options in _COMMAND_ROW.findall(PAGE)}

    assert documented == {usage: _own_options(command) for usage, command in leaves(cli)}


def test_the_options_of_every_command_are_documented() -> None:
    assert [option for option in _OF_EVERY_COMMAND if f"`{option}" not in PAGE] == []


def test_the_documented_exit_codes_are_the_exit_codes() -> None:
    documented = {int(code): meaning for code, meaning in _CODE_ROW.findall(PAGE)}

    assert documented == {code.value: code.meaning for code in ExitCode}


def test_every_error_of_the_api_has_advice() -> None:
    assert set(ADVICE) == set(ERROR_CODES)


def test_the_values_in_the_client_are_those_of_the_service() -> None:
    known = (actions.REASONS, operations.STATES, operations.OUTCOMES, operations.TOPICS, games.STATUSES, END_CAUSES)
    defined = (StopReason, OperationState, Outcome, Topic, RuntimeStatus, EndedBy)

    assert [set(values) for values in known] == [set(choices.values) for choices in defined]


def test_the_version_is_that_of_the_project() -> None:
    assert __version__ == project()["project"]["version"]


def test_the_script_is_the_command_line() -> None:
    assert project()["project"]["scripts"]["rtm"] == "rtmanager.cli.main:main"

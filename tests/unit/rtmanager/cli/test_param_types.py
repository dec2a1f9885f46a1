"""What ``rtm`` reads and writes without a service: parameters, files, tables, help."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from rtmanager.cli.connection import DEFAULT_URL, read_connection
from rtmanager.cli.errors import CliError, ExitCode
from rtmanager.cli.main import cli
from rtmanager.cli.output import (
    format_age,
    format_bytes,
    format_duration,
    format_milliseconds,
    plural,
    strip_control,
    table,
)

NO_SERVICE = {"RTM_URL": "http://127.0.0.1:9", "RTM_TOKEN": None, "RTM_CONFIG": None, "HOME": "/nonexistent"}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RTM_TOKEN", raising=False)


def write(path: Path, text: str, *, mode: int = 0o600) -> str:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return str(path)


def test_the_default_connection_is_the_local_service_without_a_token() -> None:
    connection = read_connection(url=None, token_file=None, config=None)

    assert (connection.url, connection.token) == (DEFAULT_URL, "")


def test_the_default_configuration_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".config").mkdir()
    token = write(tmp_path / "token", "rtm_f_1\n")
    write(tmp_path / ".config" / "rtm.toml", f'url = "https://rtm.example/"\ntoken_file = "{token}"\n', mode=0o644)

    connection = read_connection(url=None, token_file=None, config=None)

    assert (connection.url, connection.token) == ("https://rtm.example", "rtm_f_1")


def test_options_override_the_environment_and_the_environment_overrides_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = write(tmp_path / "c", 'url = "http://file"\ntoken = "rtm_c_1"\n')
    monkeypatch.setenv("RTM_TOKEN", "rtm_e_1")

    from_environment = read_connection(url="http://said", token_file=None, config=config)
    from_option = read_connection(url=None, token_file=write(tmp_path / "t", "rtm_t_1"), config=config)

    assert (from_environment.url, from_environment.token) == ("http://said", "rtm_e_1")
    assert (from_option.url, from_option.token) == ("http://file", "rtm_t_1")


@pytest.mark.parametrize(
    ("text", "mode", "complaint"),
    [
        ("url = ", 0o600, "is not TOML"),
        ('uri = "http://x"', 0o600, "uri"),
        ("url = 7", 0o600, "url"),
        ('token = "rtm_a_b"', 0o644, "other users can read it"),
        ('url = "ftp://x"', 0o600, "ftp://x"),
        ('token = "two words"', 0o600, "invalid token"),
    ],
)
def test_an_invalid_configuration_is_reported(tmp_path: Path, text: str, mode: int, complaint: str) -> None:
    config = write(tmp_path / "c", text, mode=mode)

    with pytest.raises(CliError) as raised:
        read_connection(url=None, token_file=None, config=config)

    assert raised.value.exit_code == ExitCode.USAGE
    assert complaint in raised.value.message
    assert raised.value.advice


@pytest.mark.parametrize("option", ["token_file", "config"])
def test_a_named_file_must_exist(tmp_path: Path, option: str) -> None:
    missing = str(tmp_path / "missing")

    with pytest.raises(CliError, match="missing cannot be read: No such file"):
        read_connection(**{"url": None, "token_file": None, "config": None, option: missing})


def test_no_option_takes_a_token() -> None:
    options = {name for command in leaves(cli) for parameter in command.params for name in parameter.opts}

    assert "--token" not in options


def test_an_unreachable_service_is_exit_code_5_with_a_next_step() -> None:
    as_text = CliRunner().invoke(cli, ["list"], env=NO_SERVICE)
    as_json = CliRunner().invoke(cli, ["list", "--json"], env=NO_SERVICE)

    assert (as_text.exit_code, as_json.exit_code) == (5, 5)
    assert as_text.stderr.startswith("rtm: cannot connect to http://127.0.0.1:9")
    assert "RTM_URL" in as_text.stderr
    assert json.loads(as_json.stderr)["error"]["code"] == "unreachable"


@pytest.mark.parametrize("command", ["list", "operations", "events", "doctor", "version", "completion", "start"])
def test_every_command_has_help(command: str) -> None:
    done = CliRunner().invoke(cli, [command, "--help"])

    assert done.exit_code == 0
    assert done.output.startswith("Usage: ")


def test_every_command_that_calls_the_service_has_a_json_option() -> None:
    options = {command.name: {name for option in command.params for name in option.opts} for command in leaves(cli)}
    without = [name for name, names in options.items() if "--json" not in names]

    assert without == ["completion", "version"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str) -> None:
    done = CliRunner().invoke(cli, ["completion", shell])

    assert done.exit_code == 0
    assert "_RTM_COMPLETE" in done.stdout


def test_it_starts_without_django_and_without_an_http_library() -> None:
    heavy = {"celery", "django", "docker", "httpx", "redis"}
    program = f"import sys, rtmanager.cli.main; print(sorted({heavy} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_control_characters_of_a_game_are_replaced() -> None:
    assert strip_control("\x1b]0;title\x07 red \x1b[31m \x9b2J\ttab") == "�]0;title� red �[31m �2J\ttab"


def test_a_table_is_aligned_and_an_empty_cell_is_a_dash() -> None:
    drawn = click.unstyle(table(("game", "note"), [("g-1", None), ("longer", "two\nlines")]))

    assert drawn.splitlines() == ["GAME    NOTE", "g-1     -", "longer  two lines"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (61, "1m1s"), (3600, "1h"), (7322, "2h2m"), (90061, "1d1h")]
)
def test_a_duration_is_formatted_in_its_largest_two_units(seconds: int, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


def test_an_age_is_counted_to_now() -> None:
    now = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)

    assert format_age("2026-11-21T08:29:00Z", now=now) == "1m ago"
    assert format_age(None) == "-"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (None, "-")]
)
def test_bytes_are_formatted_in_a_fitting_unit(count: int | None, text: str) -> None:
    assert format_bytes(count) == text


def test_a_count_of_one_is_singular() -> None:
    assert [plural(count, "game") for count in (0, 1, 2)] == ["0 games", "1 game", "2 games"]


def test_a_step_is_formatted_in_milliseconds_below_one_second() -> None:
    assert [format_milliseconds(duration) for duration in (None, 11, 2400)] == ["…", "11 ms", "2.4 s"]


@pytest.mark.parametrize(("text", "exit_code"), [("soon", 2), ("10", 2), ("30s", 5)])
def test_a_duration_needs_a_unit(text: str, exit_code: int) -> None:
    assert CliRunner().invoke(cli, ["list", "--timeout", text], env=NO_SERVICE).exit_code == exit_code


def leaves(group: click.Group) -> list[click.Command]:
    """Return all commands, those of groups included."""
    commands: list[click.Command] = []
    for command in group.commands.values():
        commands += leaves(command) if isinstance(command, click.Group) else [command]
    return commands

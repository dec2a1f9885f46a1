"""What ``rtm`` reads and writes without a service: words, files, tables, help."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from rtmanager.cli.connection import DEFAULT_URL, read_connection
from rtmanager.cli.failures import ExitCode, Failure
from rtmanager.cli.main import cli
from rtmanager.cli.terminal import age, milliseconds, plain, size, span, table

NOBODY = {"RTM_URL": "http://127.0.0.1:9", "RTM_TOKEN": None, "RTM_CONFIG": None, "HOME": "/nonexistent"}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RTM_TOKEN", raising=False)


def write(path: Path, text: str, *, mode: int = 0o600) -> str:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return str(path)


def test_without_anything_said_it_is_the_local_service_without_a_token() -> None:
    found = read_connection(url=None, token_file=None, config=None)

    assert (found.url, found.token) == (DEFAULT_URL, "")


def test_the_file_of_the_user_is_read_without_being_named(tmp_path: Path) -> None:
    (tmp_path / ".config").mkdir()
    token = write(tmp_path / "token", "rtm_f_1\n")
    write(tmp_path / ".config" / "rtm.toml", f'url = "https://rtm.example/"\ntoken_file = "{token}"\n', mode=0o644)

    found = read_connection(url=None, token_file=None, config=None)

    assert (found.url, found.token) == ("https://rtm.example", "rtm_f_1")


def test_what_is_nearer_to_the_command_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
        ('token = "rtm_a_b"', 0o644, "others may read it"),
        ('url = "ftp://x"', 0o600, "ftp://x"),
        ('token = "two words"', 0o600, "is no token"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_named(tmp_path: Path, text: str, mode: int, complaint: str) -> None:
    config = write(tmp_path / "c", text, mode=mode)

    with pytest.raises(Failure) as raised:
        read_connection(url=None, token_file=None, config=config)

    assert raised.value.exit_code == ExitCode.USAGE
    assert complaint in raised.value.message
    assert raised.value.advice


@pytest.mark.parametrize("option", ["token_file", "config"])
def test_a_file_that_is_named_must_exist(tmp_path: Path, option: str) -> None:
    missing = str(tmp_path / "missing")

    with pytest.raises(Failure, match="missing cannot be read: No such file"):
        read_connection(**{"url": None, "token_file": None, "config": None, option: missing})


def test_no_option_takes_a_token() -> None:
    options = {name for command in leaves(cli) for parameter in command.params for name in parameter.opts}

    assert "--token" not in options


def test_a_service_that_is_away_ends_with_5_and_says_what_to_do() -> None:
    for_people = CliRunner().invoke(cli, ["list"], env=NOBODY)
    for_scripts = CliRunner().invoke(cli, ["list", "--json"], env=NOBODY)

    assert (for_people.exit_code, for_scripts.exit_code) == (5, 5)
    assert for_people.stderr.startswith("rtm: nothing answers at http://127.0.0.1:9")
    assert "RTM_URL" in for_people.stderr
    assert json.loads(for_scripts.stderr)["error"]["code"] == "unreachable"


@pytest.mark.parametrize("command", ["list", "operations", "events", "doctor", "version", "completion", "start"])
def test_every_command_explains_itself(command: str) -> None:
    done = CliRunner().invoke(cli, [command, "--help"])

    assert done.exit_code == 0
    assert done.output.startswith("Usage: ")


def test_every_command_that_talks_to_the_service_can_answer_in_json() -> None:
    without = [
        command.name for command in leaves(cli) if "--json" not in {name for one in command.params for name in one.opts}
    ]

    assert without == ["completion", "version"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_what_a_shell_can_read(shell: str) -> None:
    done = CliRunner().invoke(cli, ["completion", shell])

    assert done.exit_code == 0
    assert "_RTM_COMPLETE" in done.stdout


def test_it_starts_without_django_and_without_an_http_library() -> None:
    heavy = {"celery", "django", "docker", "httpx", "redis"}
    look = f"import sys, rtmanager.cli.main; print(sorted({heavy} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_what_a_game_wrote_cannot_steer_the_terminal() -> None:
    assert plain("\x1b]0;title\x07 red \x1b[31m \x9b2J\ttab") == "�]0;title� red �[31m �2J\ttab"


def test_a_table_is_aligned_and_nothing_is_a_dash() -> None:
    drawn = click.unstyle(table(("game", "note"), [("g-1", None), ("longer", "two\nlines")]))

    assert drawn.splitlines() == ["GAME    NOTE", "g-1     -", "longer  two lines"]


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0s"), (59, "59s"), (61, "1m1s"), (3600, "1h"), (7322, "2h2m"), (90061, "1d1h")]
)
def test_a_span_is_told_in_its_largest_two_units(seconds: int, told: str) -> None:
    assert span(timedelta(seconds=seconds)) == told


def test_an_age_is_counted_to_now() -> None:
    now = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)

    assert age("2026-11-21T08:29:00Z", now=now) == "1m ago"
    assert age(None) == "-"


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (None, "-")]
)
def test_bytes_are_told_in_a_fitting_unit(count: int | None, told: str) -> None:
    assert size(count) == told


def test_a_step_is_told_in_milliseconds_until_it_takes_longer_than_a_second() -> None:
    assert [milliseconds(duration) for duration in (None, 11, 2400)] == ["…", "11 ms", "2.4 s"]


@pytest.mark.parametrize(("word", "exit_code"), [("soon", 2), ("10", 2), ("30s", 5)])
def test_a_duration_needs_its_unit(word: str, exit_code: int) -> None:
    assert CliRunner().invoke(cli, ["list", "--timeout", word], env=NOBODY).exit_code == exit_code


def leaves(group: click.Group) -> list[click.Command]:
    """All commands that do something, those in groups too."""
    found: list[click.Command] = []
    for command in group.commands.values():
        found += leaves(command) if isinstance(command, click.Group) else [command]
    return found

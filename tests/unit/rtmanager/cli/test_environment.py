"""``rtm`` in a bad environment: closed and full streams, unusable proxies, certificates and addresses. No traceback."""

import os
import subprocess
import sys

import click
import pytest

from rtmanager.cli.connection import is_loopback
from rtmanager.cli.main import cli
from tests.paths import ROOT

# No process listens on the discard port of this machine.
CLOSED = "http://127.0.0.1:9"
OUTSIDE = "http://rtm.invalid"


def rtm(command: str, **variables: str) -> tuple[int, str]:
    """Run ``rtm`` through a shell; return its exit code and standard error."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment = {**kept, "RTM_URL": CLOSED, "RTM_CONFIG": "/dev/null", **variables}
    done = subprocess.run(
        ["sh", "-c", command.replace("rtm", f"{sys.executable} -m rtmanager.cli", 1)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        ("rtm stop g-1 --timeout 100ms <&-", 5),
        ("rtm version >/dev/full", 1),
        ("rtm --help >/dev/full", 1),
        ("rtm list 2>/dev/full", 5),
        ("rtm version >&- 2>&- <&-", 0),
    ],
)
def test_a_closed_or_full_stream_gives_the_documented_exit_code(command: str, exit_code: int) -> None:
    assert rtm(command)[0] == exit_code


@pytest.mark.parametrize("proxy", ["foo://", "socks5://x:1", "http://[::1"])
def test_an_unusable_proxy_variable_is_named(proxy: str) -> None:
    exit_code, error = rtm("rtm list", RTM_URL=OUTSIDE, http_proxy=proxy)

    assert exit_code == 2
    assert "proxy variables cannot be used" in error


@pytest.mark.parametrize("proxy", ["foo://", "http://proxy.invalid:3128"])
def test_a_loopback_address_is_called_without_a_proxy(proxy: str) -> None:
    exit_code, error = rtm("rtm list --timeout 3s", http_proxy=proxy, ALL_PROXY=proxy)

    assert exit_code == 5
    assert f"cannot connect to {CLOSED} ([Errno 111]" in error


@pytest.mark.parametrize("variables", [{"SSL_CERT_FILE": "/nonexistent"}, {"SSL_CERT_FILE": "/etc/passwd"}])
def test_unusable_certificates_are_named(variables: dict[str, str]) -> None:
    exit_code, error = rtm("rtm list", **variables)

    assert exit_code == 2
    assert "SSL_CERT_FILE" in error


@pytest.mark.parametrize(
    "url",
    ["http://", "http://[::1", "http://h:99999", "http://h:x", "http://h:0", "ftp://h", "http://exa mple",
     "http://user@:80", f"http://{'a' * 70}.example", "http://a..b"],
)  # fmt: skip
def test_an_unusable_address_is_invalid_input(url: str) -> None:
    exit_code, error = rtm(f"rtm list --timeout 3s --url '{url}'")

    assert exit_code == 2
    assert "--url or RTM_URL" in error


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8096", True),
        ("http://127.8.9.1", True),
        ("https://LOCALHOST.", True),
        ("http://rtm.localhost", True),
        ("http://[::1]:8096", True),
        ("http://[::ffff:127.0.0.1]", True),
        ("http://0.0.0.0:8096", True),
        ("http://10.0.0.1", False),
        ("http://localhost.example", False),
        ("http://127.0.0.1.example", False),
    ],
)
def test_a_loopback_address_is_recognised(url: str, *, expected: bool) -> None:
    assert is_loopback(url) == expected


@pytest.mark.parametrize(("no_color", "has_colour"), [("", True), ("1", False)])
def test_no_color_switches_colours_off(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], no_color: str, *, has_colour: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda _stream, color=None: color is False)

    with pytest.raises(SystemExit):
        cli.main(["list", "--url", CLOSED, "--config", "/dev/null"], prog_name="rtm")

    assert ("\x1b[" in capfd.readouterr().err) == has_colour


def test_an_unexpected_error_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_args: object, **_options: object) -> None:
        message = "odd"
        raise LookupError(message)

    monkeypatch.setattr(click.Group, "main", fail)

    with pytest.raises(SystemExit) as ended:
        cli.main(["version"])

    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("rtm: unexpected error: LookupError: odd.\n")

"""Waiting for an operation: which steps are printed, and what a failed poll does."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest

from rtmanager.cli.api import Api
from rtmanager.cli.command import Session
from rtmanager.cli.connection import Connection
from rtmanager.cli.errors import CliError, ExitCode
from rtmanager.cli.submit import Progress, wait_until_finished


def step(name: str, duration_ms: int | None = 5, *, error: str = "") -> dict[str, Any]:
    return {"name": name, "started_at": "2026-11-21T08:30:00Z", "duration_ms": duration_ms, "error": error}


def operation(*steps: dict[str, Any], state: str = "running") -> dict[str, Any]:
    return {"id": "7", "game_id": "g-1", "op_kind": "start", "state": state, "steps": list(steps)}


def session(*responses: dict[str, Any] | Exception | int, seconds: float = 60.0) -> Session:
    """Return a session whose polls receive these responses in order; a number is a status with an unusable body."""
    left = list(responses)

    def respond(_request: httpx.Request) -> httpx.Response:
        response = left.pop(0)
        if isinstance(response, Exception):
            raise response
        return httpx.Response(response, text="?") if isinstance(response, int) else httpx.Response(200, json=response)

    created = Session(None, None, None, timedelta(seconds=seconds), as_json=False)
    connection = Connection("http://rtm.example", token="")
    created.api = Api(connection, timeout_seconds=seconds, transport=httpx.MockTransport(respond))
    return created


def wait(polling: Session) -> dict[str, Any]:
    return wait_until_finished(polling, operation(), progress=Progress(is_shown=True), pause=lambda _seconds: None)


def printed_steps(capsys: pytest.CaptureFixture[str]) -> Sequence[list[str]]:
    return [line.split() for line in capsys.readouterr().err.splitlines()[1:]]


def test_each_step_is_printed_once_when_it_has_finished(capsys: pytest.CaptureFixture[str]) -> None:
    polling = session(
        operation(step("pull", None)),
        operation(step("pull", 2400), step("create", None)),
        operation(step("pull", 2400), step("create"), step("start"), state="finished"),
    )

    wait(polling)

    assert printed_steps(capsys) == [["pull", "2.4", "s"], ["create", "5", "ms"], ["start", "5", "ms"]]


def test_the_steps_of_a_new_attempt_are_printed_again(capsys: pytest.CaptureFixture[str]) -> None:
    polling = session(
        operation(step("pull"), step("create", error="lost")),
        operation(step("pull"), state="finished"),
    )

    wait(polling)

    assert printed_steps(capsys) == [["pull", "5", "ms"], ["create", "5", "ms", "lost"], ["pull", "5", "ms"]]


@pytest.mark.parametrize("failure", [httpx.ReadError("reset"), httpx.ConnectError("refused"), 502])
def test_a_failed_poll_is_repeated(failure: Exception | int) -> None:
    polling = session(failure, failure, operation(state="finished"))

    assert wait(polling)["state"] == "finished"


def test_a_rejected_poll_fails_the_command() -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"error": {"code": "unauthorized", "message": "this token is expired"}})

    polling = session()
    polling.api = Api(Connection("http://x", token=""), timeout_seconds=60, transport=httpx.MockTransport(refuse))

    with pytest.raises(CliError, match="expired") as raised:
        wait(polling)

    assert raised.value.exit_code == ExitCode.NOT_ALLOWED


def test_scripts_see_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    polling = session(operation(step("pull"), state="finished"))

    wait_until_finished(polling, operation(), progress=Progress(is_shown=False), pause=lambda _seconds: None)

    assert capsys.readouterr().err == ""


def test_a_timeout_names_the_operation() -> None:
    polling = session(seconds=0.0)

    with pytest.raises(CliError) as raised:
        wait(polling)

    assert raised.value.exit_code == ExitCode.STILL_RUNNING
    assert "rtm operation 7" in raised.value.advice

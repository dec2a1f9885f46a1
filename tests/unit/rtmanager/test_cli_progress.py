"""Waiting for an operation: which steps are told, and what a lost look does to the waiting."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest

from rtmanager.cli.api import Api
from rtmanager.cli.connection import Connection
from rtmanager.cli.failures import ExitCode, Failure
from rtmanager.cli.progress import Progress, wait_for_end
from rtmanager.cli.session import Session


def step(name: str, duration_ms: int | None = 5, *, error: str = "") -> dict[str, Any]:
    return {"name": name, "started_at": "2026-11-21T08:30:00Z", "duration_ms": duration_ms, "error": error}


def operation(*steps: dict[str, Any], state: str = "running") -> dict[str, Any]:
    return {"id": "7", "game_id": "g-1", "op_kind": "start", "state": state, "steps": list(steps)}


def session(*looks: dict[str, Any] | Exception | int, seconds: float = 60.0) -> Session:
    """A session whose looks at the operation meet these, one after the other; a number is a status without sense."""
    left = list(looks)

    def answer(_request: httpx.Request) -> httpx.Response:
        seen = left.pop(0)
        if isinstance(seen, Exception):
            raise seen
        return httpx.Response(seen, text="?") if isinstance(seen, int) else httpx.Response(200, json=seen)

    made = Session(None, None, None, timedelta(seconds=seconds), as_json=False)
    connection = Connection("http://rtm.example", token="")
    made.api = Api(connection, timeout_seconds=seconds, transport=httpx.MockTransport(answer))
    return made


def wait(made: Session) -> dict[str, Any]:
    return wait_for_end(made, operation(), progress=Progress(is_shown=True), pause=lambda _seconds: None)


def told(capsys: pytest.CaptureFixture[str]) -> Sequence[list[str]]:
    return [line.split() for line in capsys.readouterr().err.splitlines()[1:]]


def test_each_step_is_told_once_when_it_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    made = session(
        operation(step("pull", None)),
        operation(step("pull", 2400), step("create", None)),
        operation(step("pull", 2400), step("create"), step("start"), state="finished"),
    )

    wait(made)

    assert told(capsys) == [["pull", "2.4", "s"], ["create", "5", "ms"], ["start", "5", "ms"]]


def test_the_steps_of_a_new_attempt_are_news(capsys: pytest.CaptureFixture[str]) -> None:
    made = session(
        operation(step("pull"), step("create", error="lost")),
        operation(step("pull"), state="finished"),
    )

    wait(made)

    assert told(capsys) == [["pull", "5", "ms"], ["create", "5", "ms", "lost"], ["pull", "5", "ms"]]


@pytest.mark.parametrize("trouble", [httpx.ReadError("reset"), httpx.ConnectError("refused"), 502])
def test_a_look_without_an_answer_is_repeated(trouble: Exception | int) -> None:
    made = session(trouble, trouble, operation(state="finished"))

    assert wait(made)["state"] == "finished"


def test_a_look_that_is_refused_ends_the_waiting() -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"error": {"code": "unauthorized", "message": "this token is expired"}})

    made = session()
    made.api = Api(Connection("http://x", token=""), timeout_seconds=60, transport=httpx.MockTransport(refuse))

    with pytest.raises(Failure, match="expired") as raised:
        wait(made)

    assert raised.value.exit_code == ExitCode.NOT_ALLOWED


def test_scripts_are_told_nothing_before_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    made = session(operation(step("pull"), state="finished"))

    wait_for_end(made, operation(), progress=Progress(is_shown=False), pause=lambda _seconds: None)

    assert capsys.readouterr().err == ""


def test_when_the_time_is_over_the_operation_is_named() -> None:
    made = session(seconds=0.0)

    with pytest.raises(Failure) as raised:
        wait(made)

    assert raised.value.exit_code == ExitCode.STILL_RUNNING
    assert "rtm operation 7" in raised.value.advice

"""``manage.py preclean`` on an engine in memory."""

import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from runtimes.containers.base import ContainersUnavailableError
from runtimes.containers.fake import FakeEngine, FakeImage, shared_engine
from runtimes.specs import LABEL_OWNER, LABEL_STACK, ContainerPolicy, Limits, build_spec
from tests.conftest import RtmSettings

POLICY = ContainerPolicy(
    stack="test-a",
    network="lab-net",
    state_root="/tmp/games",  # noqa: S108 - nothing is written there
    state_mount_path="/var/lib/galaxy-game",
    state_env_name="GAME_STATE_PATH",
    default_limits=Limits(cpu_quota=0.5, memory_bytes=64 * 1024**2, pids_limit=32),
    read_only=True,
    user="",
    stop_grace_seconds=1,
)


class Terminal(StringIO):
    """A standard input with a person behind it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def engine(rtm_settings: RtmSettings, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    rtm_settings(stack="live")
    settings.RTM_CONTAINERS = "runtimes.containers.fake.FakeContainers"
    monkeypatch.setattr(sys, "stdin", StringIO())
    shared_engine.reset()
    yield shared_engine
    shared_engine.reset()


def add(engine: FakeEngine, game_id: str, *, stack: str = "test-a", **labels: str) -> None:
    spec = build_spec(
        POLICY,
        game_id=game_id,
        image_ref="e:1",
        limits=POLICY.default_limits,
        operation_id=1,
        fence=1,
        started_at_ms=1_700_000_000_000,
    )
    engine.add(replace(spec, labels={**spec.labels, LABEL_STACK: stack, **labels}), image=FakeImage())


def left(engine: FakeEngine) -> list[str]:
    return sorted(one.game_id for one in engine.containers.values())


def preclean(*words: str) -> str:
    said = StringIO()
    call_command("preclean", *words, stdout=said, stderr=io.StringIO())
    return said.getvalue()


def test_every_container_of_the_stack_goes_and_nothing_else(engine: FakeEngine) -> None:
    add(engine, "a1")
    add(engine, "a2")
    add(engine, "b1", stack="test-b")
    add(engine, "longer", stack="test-a-2")
    add(engine, "foreign", **{LABEL_OWNER: "somebody"})

    said = preclean("--stack", "test-a")

    assert left(engine) == ["b1", "foreign", "longer"]
    assert [line.split()[:2] for line in said.splitlines()[:2]] == [
        ["removed", "galaxy-game-a1"],
        ["removed", "galaxy-game-a2"],
    ]


def test_a_second_run_finds_nothing_and_succeeds(engine: FakeEngine) -> None:
    add(engine, "a1")
    preclean("--stack", "test-a")

    assert preclean("--stack", "test-a") == "0 container(s) of stack test-a removed.\n"


def test_a_dry_run_tells_and_removes_nothing(engine: FakeEngine) -> None:
    add(engine, "a1")

    said = preclean("--stack", "test-a", "--dry-run")

    assert "would remove galaxy-game-a1" in said
    assert left(engine) == ["a1"]


def test_one_that_cannot_be_removed_does_not_keep_the_others_and_fails_the_run(engine: FakeEngine) -> None:
    add(engine, "a1")
    add(engine, "a2")
    engine.fail_before("remove", ContainersUnavailableError("the engine is busy"))

    with pytest.raises(CommandError, match="1 container") as failure:
        preclean("--stack", "test-a")

    assert left(engine) == ["a1"]
    assert failure.value.returncode == 1


def test_an_engine_that_is_away_fails_the_run(engine: FakeEngine) -> None:
    engine.go_away()

    with pytest.raises(CommandError):
        preclean("--stack", "test-a")


@pytest.mark.parametrize(("stack", "warning"), [("test-a", False), ("live", True)])
def test_a_person_is_asked_and_may_decline(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, stack: str, *, warning: bool
) -> None:
    add(engine, "a1", stack=stack)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    said = StringIO()

    with pytest.raises(CommandError, match="Nothing removed"):
        call_command("preclean", "--stack", stack, stdout=said)

    assert left(engine) == ["a1"]
    assert ("the stack of this very service" in said.getvalue()) is warning


@pytest.mark.parametrize(("words", "typed"), [([], "y\n"), (["--yes"], "")])
def test_a_person_who_agrees_gets_it(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, words: list[str], typed: str
) -> None:
    add(engine, "a1")
    monkeypatch.setattr(sys, "stdin", Terminal(typed))

    preclean("--stack", "test-a", *words)

    assert left(engine) == []


def test_a_stack_without_a_name_is_refused(engine: FakeEngine) -> None:
    add(engine, "a1", stack="")

    with pytest.raises(CommandError, match="a stack has a name"):
        preclean("--stack", "")

    assert left(engine) == ["a1"]

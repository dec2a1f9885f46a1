"""``manage.py preclean`` on a daemon in memory."""

import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from runtimes.container_spec import LABEL_OWNER, LABEL_STACK, ContainerPolicy, Limits, build_spec
from runtimes.containers.base import ContainersUnavailableError
from runtimes.containers.fake.adapter import FakeDocker, FakeImage, shared_docker
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
def daemon(rtm_settings: RtmSettings, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDocker]:
    rtm_settings(stack="live")
    settings.RTM_CONTAINERS = "runtimes.containers.fake.adapter.FakeAdapter"
    monkeypatch.setattr(sys, "stdin", StringIO())
    shared_docker.reset()
    yield shared_docker
    shared_docker.reset()


def add(daemon: FakeDocker, game_id: str, *, stack: str = "test-a", **labels: str) -> None:
    spec = build_spec(
        POLICY,
        game_id=game_id,
        image_ref="e:1",
        limits=POLICY.default_limits,
        operation_id=1,
        fence=1,
        started_at_ms=1_700_000_000_000,
    )
    daemon.add(replace(spec, labels={**spec.labels, LABEL_STACK: stack, **labels}), image=FakeImage())


def left(daemon: FakeDocker) -> list[str]:
    return sorted(one.game_id for one in daemon.containers.values())


def preclean(*arguments: str) -> str:
    output = StringIO()
    call_command("preclean", *arguments, stdout=output, stderr=io.StringIO())
    return output.getvalue()


def test_every_container_of_the_stack_goes_and_nothing_else(daemon: FakeDocker) -> None:
    add(daemon, "a1")
    add(daemon, "a2")
    add(daemon, "b1", stack="test-b")
    add(daemon, "longer", stack="test-a-2")
    add(daemon, "foreign", **{LABEL_OWNER: "other-service"})

    output = preclean("--stack", "test-a")

    assert left(daemon) == ["b1", "foreign", "longer"]
    assert [line.split()[:2] for line in output.splitlines()[:2]] == [
        ["removed", "galaxy-game-a1"],
        ["removed", "galaxy-game-a2"],
    ]


def test_a_second_run_finds_nothing_and_succeeds(daemon: FakeDocker) -> None:
    add(daemon, "a1")
    preclean("--stack", "test-a")

    assert preclean("--stack", "test-a") == "0 container(s) of stack test-a removed.\n"


def test_a_dry_run_lists_the_containers_and_removes_nothing(daemon: FakeDocker) -> None:
    add(daemon, "a1")

    output = preclean("--stack", "test-a", "--dry-run")

    assert "would remove galaxy-game-a1" in output
    assert left(daemon) == ["a1"]


def test_one_that_cannot_be_removed_does_not_keep_the_others_and_fails_the_run(daemon: FakeDocker) -> None:
    add(daemon, "a1")
    add(daemon, "a2")
    daemon.fail_before("remove", ContainersUnavailableError("the daemon is busy"))

    with pytest.raises(CommandError, match="1 container") as failure:
        preclean("--stack", "test-a")

    assert left(daemon) == ["a1"]
    assert failure.value.returncode == 1


def test_a_daemon_that_is_away_fails_the_run(daemon: FakeDocker) -> None:
    daemon.disconnect()

    with pytest.raises(CommandError):
        preclean("--stack", "test-a")


@pytest.mark.parametrize(("stack", "warning"), [("test-a", False), ("live", True)])
def test_a_person_is_asked_and_may_decline(
    daemon: FakeDocker, monkeypatch: pytest.MonkeyPatch, stack: str, *, warning: bool
) -> None:
    add(daemon, "a1", stack=stack)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    output = StringIO()

    with pytest.raises(CommandError, match="Nothing removed"):
        call_command("preclean", "--stack", stack, stdout=output)

    assert left(daemon) == ["a1"]
    assert ("the stack of this service" in output.getvalue()) is warning


@pytest.mark.parametrize(("arguments", "typed"), [([], "y\n"), (["--yes"], "")])
def test_a_person_who_agrees_gets_it(
    daemon: FakeDocker, monkeypatch: pytest.MonkeyPatch, arguments: list[str], typed: str
) -> None:
    add(daemon, "a1")
    monkeypatch.setattr(sys, "stdin", Terminal(typed))

    preclean("--stack", "test-a", *arguments)

    assert left(daemon) == []


def test_a_stack_without_a_name_is_refused(daemon: FakeDocker) -> None:
    add(daemon, "a1", stack="")

    with pytest.raises(CommandError, match="give the name of the stack"):
        preclean("--stack", "")

    assert left(daemon) == ["a1"]

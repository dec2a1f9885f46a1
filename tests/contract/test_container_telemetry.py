"""The promises of logs, stats and details, held by both adapters."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta

import pytest

from runtimes.containers.base import ContainersUnavailableError, NoSuchContainerError
from runtimes.containers.types import (
    CUT,
    MAX_LINE_CHARACTERS,
    Feed,
    LogEndedError,
    LogLine,
    LogsNotAvailableError,
    NotRunningError,
)
from tests.contract.container_backends import LIMITS, Lab
from tests.servers.waiting import wait_for

NO_ID = "f" * 64
ASKING = {
    "inspect": lambda containers, container_id: containers.inspect(container_id),
    "logs": lambda containers, container_id: containers.logs(container_id, tail=5),
    "follow_logs": lambda containers, container_id: containers.follow_logs(container_id),
    "stats": lambda containers, container_id: containers.stats(container_id),
}


@pytest.fixture
def talker(lab: Lab) -> str:
    """A container that has said its first two lines."""
    container_id = lab.run("talkative")
    wait_for(lambda: len(lab.containers.logs(container_id, tail=9)) == 2, what="the first two lines")
    return container_id


@pytest.fixture
def feed(lab: Lab, talker: str) -> Iterator[Feed[LogLine]]:
    feed = lab.containers.follow_logs(talker, tail=9)
    with closing(feed):
        yield feed


def hear(feed: Feed[LogLine], *texts: str) -> list[LogLine]:
    heard: list[LogLine] = []

    def look() -> bool:
        heard.extend(feed.read(0.2))
        return len(heard) >= len(texts)

    wait_for(look, what=f"the lines {texts}")
    assert sorted(one.line for one in heard) == sorted(texts)
    return heard


def write_log(lab: Lab, container_id: str, *lines: str) -> None:
    for line in lines:
        lab.write_log(container_id, line)
    wait_for(
        lambda: [one.line for one in lab.containers.logs(container_id, tail=1)] == [lines[-1]],
        what=f"the line {lines[-1]}",
    )


@pytest.mark.parametrize("asking", ASKING)
def test_a_missing_container_is_an_error(lab: Lab, asking: str) -> None:
    with pytest.raises(NoSuchContainerError, match=NO_ID[:12]):
        ASKING[asking](lab.containers, NO_ID)


@pytest.mark.parametrize("asking", ASKING)
def test_a_daemon_that_does_not_answer_says_nothing_of_a_container(lab: Lab, asking: str) -> None:
    with pytest.raises(ContainersUnavailableError):
        ASKING[asking](lab.unreachable, NO_ID)


def test_a_log_says_by_which_stream_and_when_each_line_came(lab: Lab, talker: str) -> None:
    lines = lab.containers.logs(talker, tail=9)

    assert {(one.stream, one.line) for one in lines} == {("stdout", "ready"), ("stderr", "trouble")}
    assert all(one.at and abs(datetime.now(UTC) - one.at) < timedelta(minutes=1) for one in lines)


def test_only_the_last_lines_are_returned(lab: Lab, talker: str) -> None:
    write_log(lab, talker, "one", "two", "three")

    assert [one.line for one in lab.containers.logs(talker, tail=2)] == ["two", "three"]


def test_only_lines_since_a_time_are_returned(lab: Lab, talker: str) -> None:
    write_log(lab, talker, "one")
    since = lab.containers.logs(talker, tail=1)[-1].at
    write_log(lab, talker, "two")

    assert [one.line for one in lab.containers.logs(talker, tail=9, since=since)] == ["one", "two"]


def test_the_log_outlives_the_container_s_end_and_goes_with_the_container(lab: Lab, talker: str) -> None:
    lab.containers.stop(talker, grace_seconds=1)

    lines = lab.containers.logs(talker, tail=9)

    assert {one.line for one in lines} == {"ready", "trouble"}
    lab.containers.remove(talker, grace_seconds=1)
    with pytest.raises(NoSuchContainerError):
        lab.containers.logs(talker, tail=9)


def test_a_container_that_never_ran_has_an_empty_log(lab: Lab) -> None:
    assert list(lab.containers.logs(lab.create(), tail=9)) == []


@pytest.mark.parametrize("asking", ["logs", "follow_logs"])
def test_a_log_that_is_not_stored_is_an_error(lab: Lab, asking: str) -> None:
    container_id = lab.create_mute(lab.spec())
    lab.containers.start(container_id)

    with pytest.raises(LogsNotAvailableError, match="log driver"):
        ASKING[asking](lab.containers, container_id)


def test_a_follower_hears_what_was_and_what_comes(lab: Lab, talker: str, feed: Feed[LogLine]) -> None:
    earlier = hear(feed, "ready", "trouble")
    lab.write_log(talker, "one")
    lab.write_log(talker, "two")

    later = hear(feed, "one", "two")

    assert [one.line for one in later] == ["one", "two"]
    assert {one.stream for one in earlier} == {"stdout", "stderr"}


def test_a_follower_from_now_on_hears_nothing_of_before(lab: Lab, talker: str) -> None:
    with closing(lab.containers.follow_logs(talker)) as feed:
        lab.write_log(talker, "one")

        hear(feed, "one")


def test_a_followed_log_ends_with_its_container(lab: Lab, talker: str, feed: Feed[LogLine]) -> None:
    hear(feed, "ready", "trouble")
    lab.containers.stop(talker, grace_seconds=1)

    with pytest.raises(LogEndedError):
        wait_for(lambda: feed.read(0.2), what="the end")


def test_the_log_of_an_exited_container_is_complete(lab: Lab, talker: str) -> None:
    lab.containers.stop(talker, grace_seconds=1)

    with closing(lab.containers.follow_logs(talker, tail=9)) as feed:
        hear(feed, "ready", "trouble")
        with pytest.raises(LogEndedError):
            wait_for(lambda: feed.read(0.2), what="the end")


def test_closing_from_another_thread_ends_a_read_of_the_log(feed: Feed[LogLine]) -> None:
    ended = threading.Event()

    def read_to_the_end() -> None:
        with suppress(LogEndedError, ContainersUnavailableError):
            while True:
                feed.read(0.2)
        ended.set()

    threading.Thread(target=read_to_the_end, daemon=True).start()
    feed.close()

    assert ended.wait(10)
    feed.close()


def test_a_running_container_is_measured(lab: Lab, talker: str) -> None:
    stats = lab.containers.stats(talker)

    assert 0 <= stats.cpu_percent < 110
    assert 0 < stats.memory_bytes < stats.memory_limit_bytes == LIMITS.memory_bytes
    assert 0 < stats.pids <= LIMITS.pids_limit
    assert abs(datetime.now(UTC) - stats.at) < timedelta(minutes=1)


@pytest.mark.parametrize("make", [Lab.create, lambda lab: end(lab, lab.run())], ids=["created", "ended"])
def test_a_container_that_does_not_run_is_not_measured(lab: Lab, make: Callable[[Lab], str]) -> None:
    with pytest.raises(NotRunningError):
        lab.containers.stats(make(lab))


def test_details_say_what_is_in_force(lab: Lab) -> None:
    spec = lab.spec()

    details = lab.containers.inspect(lab.containers.create(spec))

    assert details.container == lab.containers.find(spec.name)
    limits = details.limits
    assert (limits["memory_bytes"], limits["memory_swap_bytes"]) == (LIMITS.memory_bytes, LIMITS.memory_bytes)
    assert (limits["nano_cpus"], limits["pids_limit"]) == (500_000_000, LIMITS.pids_limit)
    assert (limits["read_only"], limits["privileged"], limits["init"]) == (True, False, True)
    assert (limits["cap_drop"], limits["cap_add"]) == (["ALL"], [])
    assert limits["security_opt"] == ["no-new-privileges:true"]
    assert (limits["networks"], limits["restart_policy"]) == ([lab.network], "no")
    assert limits["log_config"]["driver"] == "local"
    assert limits["mounts"] == [
        {"type": "bind", "source": spec.state_path, "target": spec.state_mount_path, "read_only": False}
    ]
    assert f"GAME_STATE_PATH={spec.state_mount_path}" in details.raw["Config"]["Env"]


def test_an_endless_line_is_cut_and_the_next_is_whole(real_lab: Lab) -> None:
    container_id = real_lab.run("talkative")
    write_log(real_lab, container_id, "x" * 50_000, "short")

    long, short = real_lab.containers.logs(container_id, tail=9)[-2:]

    assert (long.line, short.line) == ("x" * (MAX_LINE_CHARACTERS - 1) + CUT, "short")


def test_asking_within_a_time_leaves_the_adapter_as_it_was(lab: Lab) -> None:
    container_id = lab.create()

    with lab.containers.time_limit(5):
        before = lab.containers.find(container_id)

    assert lab.containers.find(container_id) == before


def end(lab: Lab, container_id: str) -> str:
    lab.containers.stop(container_id, grace_seconds=1)
    return container_id

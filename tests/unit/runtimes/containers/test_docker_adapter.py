"""The Docker adapter against a daemon that misbehaves: an HTTP server with scripted answers."""

import collections
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from rtmanager.config import Config
from runtimes.containers.base import (
    ContainerEvent,
    ContainerStartFailedError,
    ContainersUnavailableError,
    EventAction,
    ImagePullFailedError,
    NoSuchContainerError,
)
from runtimes.containers.docker.adapter import DockerAdapter
from tests.servers.scripted_daemon import Answer, ScriptedDaemon, scripted_daemon

CONTAINER_ID = "c" * 64
RUNNING = {
    "Id": CONTAINER_ID,
    "Name": "/galaxy-game-g1",
    "Config": {"Labels": {}},
    "State": {"Status": "running", "StartedAt": "", "FinishedAt": ""},
}


@pytest.fixture
def daemon() -> Iterator[ScriptedDaemon]:
    with scripted_daemon() as daemon:
        yield daemon


@pytest.fixture
def containers(daemon: ScriptedDaemon) -> Iterator[DockerAdapter]:
    with closing(DockerAdapter(daemon.address, call_seconds=20)) as containers:
        yield containers


@pytest.fixture
def impatient(daemon: ScriptedDaemon) -> Iterator[DockerAdapter]:
    """For daemons that hang: what it waits is what the test lasts."""
    with closing(DockerAdapter(daemon.address, call_seconds=0.3)) as containers:
        yield containers


def test_a_daemon_that_is_too_old_is_named_with_both_versions(
    daemon: ScriptedDaemon, containers: DockerAdapter
) -> None:
    daemon.script["GET version"] = (200, {"ApiVersion": "1.40"})

    with pytest.raises(ContainersUnavailableError, match=r"API 1\.40, but 1\.41 \(Docker 20\.10\)"):
        containers.ping()


def test_an_upgraded_daemon_is_taken_without_a_restart_of_ours(
    daemon: ScriptedDaemon, containers: DockerAdapter
) -> None:
    daemon.script |= {"GET version": (200, {"ApiVersion": "1.40"}), "GET _ping": (200, b"OK")}
    with pytest.raises(ContainersUnavailableError):
        containers.ping()

    daemon.script["GET version"] = (200, {"ApiVersion": "1.41"})

    containers.ping()


def test_a_call_without_an_answer_ends_in_time_and_the_next_one_may_succeed(
    daemon: ScriptedDaemon, impatient: DockerAdapter
) -> None:
    daemon.script["GET _ping"] = ScriptedDaemon.HANG
    with pytest.raises(ContainersUnavailableError, match="timed out"):
        impatient.ping()

    daemon.script["GET _ping"] = (200, b"OK")

    impatient.ping()


@pytest.mark.parametrize("answer", [(500, {"message": "oops"}), (429, {"message": "oops"}), (502, b"oops")])
def test_an_error_of_the_daemon_says_nothing_about_the_container(
    daemon: ScriptedDaemon, containers: DockerAdapter, answer: Answer
) -> None:
    daemon.script["GET json"] = answer

    with pytest.raises(ContainersUnavailableError, match="inspect container galaxy-game-g1: oops"):
        containers.find("galaxy-game-g1")


@pytest.mark.parametrize("body", [b"not json", {}, {**RUNNING, "State": {"Status": "levitating"}}])
def test_an_answer_that_is_not_understood_is_unknown(
    daemon: ScriptedDaemon, containers: DockerAdapter, body: object
) -> None:
    daemon.script["GET json"] = (200, body)

    with pytest.raises(ContainersUnavailableError):
        containers.find(CONTAINER_ID)


def test_a_wait_without_a_response_inspects_the_container(daemon: ScriptedDaemon, containers: DockerAdapter) -> None:
    daemon.script |= {"POST wait": ScriptedDaemon.HANG, "GET json": (200, RUNNING)}

    assert containers.wait_until_exited(CONTAINER_ID, timeout_seconds=0.05) is False


def test_a_wait_on_a_daemon_that_hangs_is_unknown(daemon: ScriptedDaemon, impatient: DockerAdapter) -> None:
    daemon.script |= {"POST wait": ScriptedDaemon.HANG, "GET json": ScriptedDaemon.HANG}

    with pytest.raises(ContainersUnavailableError):
        impatient.wait_until_exited(CONTAINER_ID, timeout_seconds=0.05)


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"message": "OCI runtime create failed: no such file"}),
        (500, {"message": "mkdir /var/lib/docker/overlay2/x/merged: no space left on device"}),
        (400, {"message": "bad"}),
        (403, {"message": "denied"}),
    ],
)
def test_a_refused_start_is_a_failure(daemon: ScriptedDaemon, containers: DockerAdapter, answer: Answer) -> None:
    daemon.script["POST start"] = answer

    with pytest.raises(ContainerStartFailedError, match=answer[1]["message"]):
        containers.start(CONTAINER_ID)


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"message": "context canceled"}),
        (500, {"message": "ttrpc: closed: unknown"}),
        (503, {"message": "shutting down"}),
    ],
)
def test_a_start_interrupted_by_trouble_of_the_daemon_is_unknown(
    daemon: ScriptedDaemon, containers: DockerAdapter, answer: Answer
) -> None:
    daemon.script["POST start"] = answer

    with pytest.raises(ContainersUnavailableError):
        containers.start(CONTAINER_ID)


def test_a_start_that_misses_something_else_than_the_container_is_a_failure(
    daemon: ScriptedDaemon, containers: DockerAdapter
) -> None:
    daemon.script |= {"POST start": (404, {"message": "network x not found"}), "GET json": (200, RUNNING)}

    with pytest.raises(ContainerStartFailedError, match="network x not found"):
        containers.start(CONTAINER_ID)


def test_a_start_of_a_container_that_is_gone_says_so(daemon: ScriptedDaemon, containers: DockerAdapter) -> None:
    daemon.script |= {"POST start": (404, {"message": "gone"}), "GET json": (404, {"message": "gone"})}

    with pytest.raises(NoSuchContainerError):
        containers.start(CONTAINER_ID)


def test_a_pull_that_breaks_in_the_middle_fails_with_the_error_text_of_docker(
    daemon: ScriptedDaemon, containers: DockerAdapter
) -> None:
    daemon.script["POST create"] = (200, [{"status": "Pulling"}, {"error": "manifest unknown"}])

    with pytest.raises(ImagePullFailedError, match=r"game:1\.0\.0 could not be pulled: manifest unknown"):
        containers.pull("game:1.0.0")


@pytest.mark.parametrize("status", [404, 500])
def test_a_pull_that_the_registry_refuses_fails_with_the_error_text_of_docker(
    daemon: ScriptedDaemon, containers: DockerAdapter, status: int
) -> None:
    daemon.script["POST create"] = (status, {"message": "pull access denied"})

    with pytest.raises(ImagePullFailedError, match="pull access denied"):
        containers.pull("game:1.0.0")


def test_a_pull_that_ends_without_an_image_is_no_success(daemon: ScriptedDaemon, containers: DockerAdapter) -> None:
    daemon.script |= {"POST create": (200, [{"status": "Pulling"}]), "GET json": (404, {"message": "No such image"})}

    with pytest.raises(ImagePullFailedError, match="does not have the image"):
        containers.pull("game:1.0.0")


def test_a_pull_cut_short_with_the_daemon_is_unknown(daemon: ScriptedDaemon, containers: DockerAdapter) -> None:
    daemon.script |= {
        "POST create": (200, [{"status": "Pulling"}, ScriptedDaemon.BREAK]),
        "GET json": (503, {"message": "shutting down"}),
    }

    with pytest.raises(ContainersUnavailableError):
        containers.pull("game:1.0.0")


def test_a_call_ends_well_within_half_of_the_lease(rtm_settings: Callable[..., Config]) -> None:
    rtm_settings(game_lease_ttl_seconds=2.0)

    assert DockerAdapter.from_settings().call_seconds < 1.0


LABELS = {"com.galaxy.game_id": "g1"}
DIED = {"Type": "container", "Action": "die", "Actor": {"ID": CONTAINER_ID, "Attributes": LABELS}, "timeNano": 17}


@pytest.mark.parametrize("end", [[], [ScriptedDaemon.BREAK]], ids=["clean", "broken"])
def test_a_feed_gives_everything_out_before_it_says_that_it_has_ended(
    daemon: ScriptedDaemon, containers: DockerAdapter, end: list[object]
) -> None:
    daemon.script["GET events"] = (200, [DIED, *end])
    with closing(containers.events("blue", since_ns=0)) as feed:
        assert feed.read(5) == [ContainerEvent(CONTAINER_ID, "g1", EventAction.DIE, 17)]
        for _ in range(2):
            with pytest.raises(ContainersUnavailableError):
                feed.read(5)


def test_a_feed_that_does_not_open_in_time_is_unknown(daemon: ScriptedDaemon, impatient: DockerAdapter) -> None:
    daemon.script["GET events"] = ScriptedDaemon.HANG

    with pytest.raises(ContainersUnavailableError, match="send the events of stack blue"):
        impatient.events("blue", since_ns=0)


def test_a_feed_that_the_daemon_refuses_has_ended(daemon: ScriptedDaemon, containers: DockerAdapter) -> None:
    daemon.script["GET events"] = (500, {"message": "oops"})

    with closing(containers.events("blue", since_ns=0)) as feed, pytest.raises(ContainersUnavailableError):
        feed.read(5)


def test_an_event_that_is_not_understood_ends_the_feed(daemon: ScriptedDaemon, containers: DockerAdapter) -> None:
    daemon.script["GET events"] = (200, [{"Type": "container", "Action": "die"}])

    with closing(containers.events("blue", since_ns=0)) as feed, pytest.raises(ContainersUnavailableError):
        feed.read(5)


def test_all_calls_within_a_time_together_take_no_longer(daemon: ScriptedDaemon, containers: DockerAdapter) -> None:
    daemon.script |= {"GET json": ScriptedDaemon.HANG, "GET logs": ScriptedDaemon.HANG}
    containers.find("")
    began = time.monotonic()

    with containers.time_limit(0.3):
        for ask in (lambda: containers.inspect(CONTAINER_ID), lambda: containers.logs(CONTAINER_ID, tail=5)):
            with pytest.raises(ContainersUnavailableError, match=r"timed out|was exceeded"):
                ask()

    assert time.monotonic() - began < 3


def test_what_is_asked_after_a_hurry_has_its_usual_time_again(
    daemon: ScriptedDaemon, containers: DockerAdapter
) -> None:
    daemon.script["GET json"] = (200, RUNNING)
    with containers.time_limit(0.0), pytest.raises(ContainersUnavailableError):
        containers.find(CONTAINER_ID)

    found = containers.find(CONTAINER_ID)

    assert found is not None


def test_a_followed_log_that_breaks_off_is_unknown_and_not_at_its_end(
    daemon: ScriptedDaemon, containers: DockerAdapter
) -> None:
    daemon.script["GET logs"] = (200, ["2026-11-21T08:30:00Z hello", ScriptedDaemon.BREAK])

    with closing(containers.follow_logs(CONTAINER_ID)) as feed, pytest.raises(ContainersUnavailableError):
        collections.deque(iter(lambda: feed.read(5), None), maxlen=0)


def test_a_container_whose_removal_is_under_way_has_no_log(daemon: ScriptedDaemon, containers: DockerAdapter) -> None:
    daemon.script["GET logs"] = (409, {"message": "dead or marked for removal"})

    with pytest.raises(NoSuchContainerError):
        containers.logs(CONTAINER_ID, tail=5)


def test_an_image_has_the_digest_its_registry_knows_it_by(daemon: ScriptedDaemon, containers: DockerAdapter) -> None:
    daemon.script["GET json"] = (200, {"Id": "sha256:1", "RepoDigests": ["registry.example/engine@sha256:2"]})

    image = containers.find_image("registry.example/engine:1.0.0")

    assert image is not None
    assert image.digest == "sha256:2"

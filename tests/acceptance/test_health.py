"""Every health event on a real Docker: from an engine that misbehaves on command, and from changes by operators."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.servers.service import HEALTH_EVENTS, Service
from tests.servers.waiting import wait_for

Event = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def service_settings() -> Mapping[str, str]:
    """All intervals are short except the reconcile interval: the watcher reports these events."""
    return {
        "INSPECT_INTERVAL": "1s",
        "PROBE_INTERVAL": "300ms",
        "PROBE_TIMEOUT": "5s",
        "RECONCILE_INTERVAL": "1h",
        "PROBE_FAILURES_THRESHOLD": "2",
    }


class Game:
    """A running game on the engine with switches, and what the stream says of it."""

    def __init__(self, service: Service, game_id: str) -> None:
        self.service = service
        self.game_id = game_id
        self.state = Path(service.playground.state_root) / game_id

    def start(self, image: str) -> str:
        self.service.start_job(self.game_id, image)
        started = self.service.result(self.game_id)
        assert started.outcome == "success", started
        return started.container_id

    def switch(self, name: str, text: str = "") -> None:
        """Send the engine a command as a file, written atomically."""
        laid = self.state / f".{name}"
        laid.write_text(text)
        laid.rename(self.state / name)

    def unswitch(self, name: str) -> None:
        (self.state / name).unlink()

    def events(self) -> list[Event]:
        found = self.service.entries(HEALTH_EVENTS, game_id=self.game_id)
        return [(one["event_type"], json.loads(one["details"])) for one in found]

    def new_events(self, count: int) -> list[Event]:
        """Wait for this many events after the start event; return them."""
        wait_for(lambda: len(self.events()) > count, what=f"{count} health events of {self.game_id}")
        return self.events()[1:]

    def wait_for_status(self, status: str) -> None:
        wait_for(lambda: self.service.record(self.game_id)["status"] == status, what=f"status {status}")


@pytest.fixture
def game(service: Service, game_id: str) -> Game:
    return Game(service, game_id)


def test_a_removal_from_outside_is_reported(
    game: Game, docker_client: docker.DockerClient, switched_image: str
) -> None:
    container_id = game.start(switched_image)

    docker_client.api.remove_container(container_id, force=True)

    assert game.new_events(1) == [("container_disappeared", {})]
    record = game.service.record(game.game_id)
    assert (record["status"], record["current_container_id"]) == ("removed", None)


def test_an_engine_that_ends_by_itself_is_reported_with_its_code(game: Game, switched_image: str) -> None:
    container_id = game.start(switched_image)

    game.switch("exit", "7")

    assert game.new_events(1) == [("container_exited", {"exit_code": 7, "oom": False})]
    record = game.service.record(game.game_id)
    assert (record["status"], record["current_container_id"]) == ("stopped", container_id)


def test_a_kill_from_outside_is_reported(game: Game, docker_client: docker.DockerClient, switched_image: str) -> None:
    container_id = game.start(switched_image)

    docker_client.api.kill(container_id)

    assert game.new_events(1) == [("container_exited", {"exit_code": 137, "oom": False})]


def test_an_engine_that_the_kernel_kills_for_its_memory_is_reported(game: Game, switched_image: str) -> None:
    game.start(switched_image)

    game.switch("eat")

    assert sorted(game.new_events(2)) == [
        ("container_exited", {"exit_code": 137, "oom": True}),
        ("container_oom", {"exit_code": 137}),
    ]


def test_a_killed_child_is_reported_and_the_game_runs_on(game: Game, switched_image: str) -> None:
    container_id = game.start(switched_image)

    game.switch("feed-child")

    assert game.new_events(1) == [("container_oom", {"exit_code": 0})]
    record = game.service.record(game.game_id)
    assert (record["status"], record["current_container_id"]) == ("running", container_id)


def test_a_failing_health_check_is_reported_once_until_it_has_recovered(game: Game, switched_image: str) -> None:
    game.start(switched_image)
    unhealthy = ("inspect_unhealthy", {"restart_count": 0, "state": "running", "health": "unhealthy"})

    game.switch("fall-sick")
    assert game.new_events(1) == [unhealthy]
    game.unswitch("fall-sick")
    game_recovered(game)
    game.switch("fall-sick")

    assert game.new_events(2) == [unhealthy, unhealthy]


def game_recovered(game: Game) -> None:
    query = "SELECT docker_health FROM runtimes_healthsnapshot WHERE runtime_id = %s"
    wait_for(lambda: game.service.rows(query, game.game_id) == [("healthy",)], what="the recovery")


def test_a_paused_container_is_reported(game: Game, docker_client: docker.DockerClient, switched_image: str) -> None:
    container_id = game.start(switched_image)

    docker_client.api.pause(container_id)

    ((event_type, details),) = game.new_events(1)
    docker_client.api.unpause(container_id)
    assert (event_type, details["state"], details["restart_count"]) == ("inspect_unhealthy", "paused", 0)


def test_failing_probes_are_reported_once_and_so_is_their_recovery(game: Game, switched_image: str) -> None:
    game.start(switched_image)

    game.switch("fail-probes")
    failed = ("probe_failed", {"consecutive_failures": 2, "last_status": 503, "last_error": "answered 503"})
    assert game.new_events(1) == [failed]
    game.unswitch("fail-probes")

    failed_event, (recovered, details) = game.new_events(2)
    assert (failed_event, recovered) == (failed, "probe_recovered")
    assert details["prior_failure_count"] >= 2


def test_events_of_our_own_operations_are_not_reported(
    game: Game, docker_client: docker.DockerClient, engine_image: str, engine_image_next: str
) -> None:
    game.start(engine_image)
    for verb, body in (
        ("restart", {}),
        ("patch", {"image_ref": engine_image_next}),
        ("stop", {"reason": "cancelled"}),
        ("restart", {}),
    ):
        assert game.service.post(game.game_id, verb, **body).status_code == 200
    container_id = game.service.record(game.game_id)["current_container_id"]

    # Published after all possible events of the operations.
    docker_client.api.remove_container(container_id, force=True)

    events = game.new_events(4)
    assert [event_type for event_type, _details in events] == ["container_started"] * 3 + ["container_disappeared"]


def test_a_stop_that_had_to_kill_is_no_exit(
    game: Game, docker_client: docker.DockerClient, stubborn_image: str
) -> None:
    game.start(stubborn_image)
    assert game.service.post(game.game_id, "stop", reason="cancelled").status_code == 200

    restarted = game.service.post(game.game_id, "restart").json()
    docker_client.api.remove_container(restarted["current_container_id"], force=True)

    assert [event_type for event_type, _details in game.new_events(2)] == [
        "container_started",
        "container_disappeared",
    ]


def test_a_stopped_game_started_by_hand_is_running_on_record(
    game: Game, docker_client: docker.DockerClient, switched_image: str
) -> None:
    container_id = game.start(switched_image)
    assert game.service.post(game.game_id, "stop", reason="cancelled").status_code == 200

    docker_client.api.start(container_id)

    game.wait_for_status("running")


def test_the_watchers_successor_finds_what_happened_in_between(
    game: Game, docker_client: docker.DockerClient, switched_image: str
) -> None:
    container_id = game.start(switched_image)
    game.service.kill("watcher")
    docker_client.api.remove_container(container_id, force=True)

    game.service.restart("watcher")

    assert game.new_events(1) == [("container_disappeared", {})]

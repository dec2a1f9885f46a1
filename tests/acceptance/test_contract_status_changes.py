"""The status changes of the contract on the whole service: the new status of a game, and its events."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.acceptance.contract_client import cleanup, derive, verdict
from tests.servers.service import HEALTH_EVENTS, INTENTS, Service
from tests.servers.waiting import wait_for


@pytest.fixture(scope="module")
def service_settings() -> Mapping[str, str]:
    """The engine that dies during the settling of a patch lives half a second."""
    return {"PATCH_SETTLE_SECONDS": "1.5"}


@pytest.fixture(scope="module")
def dying_image(docker_client: docker.DockerClient, engine_image: str) -> str:
    """A patch release that lives long enough to count as started, and not long enough to count as settled."""
    return derive(docker_client, engine_image, "1.0.66", 'CMD ["sh", "-c", "sleep 0.5; exit 4"]')


def events_after(service: Service, game_id: str, count: int) -> list[dict[str, str]]:
    """The health events of a game once this number of them follows the one of its start; before that, none."""
    events = service.entries(HEALTH_EVENTS, game_id=game_id)
    return events if len(events) > count else []


def test_a_removed_game_comes_back_by_a_start_alone(
    service: Service, game_id: str, running: dict[str, Any], engine_image_next: str
) -> None:
    service.post(game_id, "stop", reason="finished")
    removed = cleanup(service, game_id).json()
    image_ref = running["current_image_ref"]

    refused = [
        service.post(game_id, "restart"),
        service.post(game_id, "patch", image_ref=engine_image_next),
        service.post(game_id, "start", image_ref=image_ref, no_start=True),
    ]
    replayed = [service.post(game_id, "stop", reason="finished"), cleanup(service, game_id)]
    untouched = service.record(game_id)
    again = service.post(game_id, "start", image_ref=image_ref).json()

    assert [verdict(answer) for answer in refused] == [(409, "conflict")] * 3
    assert [answer.json() for answer in replayed] == [removed, removed]
    assert untouched == removed
    assert (again["status"], again["removed_at"], again["stopped_at"]) == ("running", None, None)
    assert again["created_at"] == running["created_at"]
    assert again["current_container_id"] != running["current_container_id"]


def test_a_stopped_game_runs_again_by_restart_and_by_patch(
    service: Service, game_id: str, running: dict[str, Any], engine_image_next: str
) -> None:
    service.post(game_id, "stop", reason="timeout")
    restarted = service.post(game_id, "restart").json()
    service.post(game_id, "stop", reason="orphan_cleanup")
    patched = service.post(game_id, "patch", image_ref=engine_image_next).json()

    containers = [one["current_container_id"] for one in (running, restarted, patched)]
    labels = service.playground.inspect(game_id)["Config"]["Labels"]
    latest, *_ = service.operations(game_id)
    assert (restarted["status"], patched["status"]) == ("running", "running")
    assert len(set(containers)) == 3
    assert len(service.playground.containers(game_id)) == 1
    assert labels["com.galaxy.engine_image_ref"] == engine_image_next
    assert labels["com.galaxy.operation_id"] == str(latest["id"])


def test_a_game_made_without_a_start_runs_by_a_later_one(service: Service, game_id: str, engine_image: str) -> None:
    made = service.post(game_id, "start", image_ref=engine_image, no_start=True).json()
    state = service.playground.inspect(game_id)["State"]["Status"]

    started = service.post(game_id, "start", image_ref=engine_image).json()

    assert state == "created"
    assert (made["started_at"], made["stopped_at"]) == (None, None)
    assert (started["status"], started["created_at"]) == ("running", made["created_at"])
    assert len(service.playground.containers(game_id)) == 1
    (event,) = wait_for(lambda: service.entries(HEALTH_EVENTS, game_id=game_id), what="the event")
    assert (event["event_type"], event["container_id"]) == ("container_started", started["current_container_id"])


def test_the_same_image_patched_and_the_same_verb_repeated_are_replays(
    service: Service, game_id: str, running: dict[str, Any]
) -> None:
    patched = service.post(game_id, "patch", image_ref=running["current_image_ref"])

    latest, *_ = service.operations(game_id)
    assert (patched.status_code, patched.json()) == (200, running)
    assert (latest["op_kind"], latest["outcome"], latest["error_code"]) == ("patch", "success", "replay_no_op")


@pytest.mark.parametrize("bad_image", ["dying_image", "commandless_image"])
def test_a_patch_that_does_not_stay_up_puts_the_old_image_back(
    service: Service, game_id: str, running: dict[str, Any], bad_image: str, request: pytest.FixtureRequest
) -> None:
    saved = Path(running["state_path"]) / "turn-1"
    saved.touch()
    image_ref = request.getfixturevalue(bad_image)

    answer = service.post(game_id, "patch", image_ref=image_ref)

    after = service.record(game_id)
    (container,) = service.playground.containers(game_id)
    latest, *_ = service.operations(game_id)
    assert verdict(answer) == (500, "container_start_failed")
    assert (after["status"], after["current_image_ref"]) == ("running", running["current_image_ref"])
    assert after["current_container_id"] == container.id != running["current_container_id"]
    assert container.status == "running"
    assert service.playground.ask_engine(game_id, "/version") == "1.0.0\n"
    assert saved.exists()
    assert (latest["outcome"], "revert" in {step["name"] for step in latest["steps"]}) == ("failure", True)
    assert not [one for one in service.entries(INTENTS) if game_id in one["payload_json"]]


def test_a_container_with_the_labels_of_another_games_operation_is_adopted(
    service: Service, game_id: str, running: dict[str, Any], docker_client: docker.DockerClient
) -> None:
    found = f"{game_id}-copy"
    labels = service.playground.inspect(game_id)["Config"]["Labels"]
    made = docker_client.containers.run(
        running["current_image_ref"],
        detach=True,
        name=f"galaxy-game-{found}",
        labels={**labels, "com.galaxy.game_id": found},
        network=service.playground.network,
    )

    wait_for(lambda: service.has_record(found), what="the record of the adopted game")
    record = service.record(found)
    assert (record["status"], record["current_container_id"]) == ("running", made.id)


def test_a_game_adopted_under_a_name_of_its_own_has_one_endpoint_everywhere(
    service: Service, game_id: str, engine_image: str, docker_client: docker.DockerClient
) -> None:
    made = docker_client.containers.run(
        engine_image,
        detach=True,
        name=f"by-hand-{game_id}",
        labels={
            "com.galaxy.owner": "rtmanager",
            "com.galaxy.stack": service.playground.stack,
            "com.galaxy.game_id": game_id,
            "com.galaxy.engine_image_ref": engine_image,
        },
        network=service.playground.network,
    )
    wait_for(lambda: service.has_record(game_id), what="the adoption")

    service.start_job(game_id, engine_image)

    result = service.result(game_id)
    assert (result.error_code, result.container_id) == ("replay_no_op", made.id)
    assert result.engine_endpoint == service.record(game_id)["engine_endpoint"]


@pytest.mark.parametrize(
    ("action", "event_types"),
    [
        pytest.param(("stop", {"reason": "finished"}), ["container_exited"], id="stop"),
        pytest.param(("restart", {}), ["container_exited", "container_started"], id="restart"),
    ],
)
def test_an_engine_that_ended_before_its_game_was_worked_on_is_reported_all_the_same(
    service: Service, game_id: str, switched_image: str, *, action: tuple[str, dict[str, str]], event_types: list[str]
) -> None:
    assert service.post(game_id, "start", image_ref=switched_image).status_code == 200
    service.kill("watcher")
    (service.playground.state_root / game_id / "exit").write_text("7")
    wait_for(lambda: not service.playground.inspect(game_id)["State"]["Running"], what="the end of the engine")

    (service.playground.state_root / game_id / "exit").unlink()

    verb, body = action
    answer = service.post(game_id, verb, **body)

    service.restart("watcher")
    _started, ended, *more = wait_for(lambda: events_after(service, game_id, len(event_types)), what="the events")
    assert answer.status_code == 200
    assert ended["details"] == '{"exit_code":7,"oom":false}'
    assert [one["event_type"] for one in (ended, *more)] == event_types

"""The eight scenarios that must hold, as a stranger with the contract in hand would drive them."""

import json

import docker

from tests.acceptance.conftest import MakeService
from tests.servers.service import HEALTH_EVENTS, INTENTS, Service
from tests.servers.waiting import wait_for

SOON = {"RECONCILE_INTERVAL": "1s"}


def event_types(service: Service, game_id: str) -> list[str]:
    return [event["event_type"] for event in service.entries(HEALTH_EVENTS, game_id=game_id)]


def hand_made(client: docker.DockerClient, service: Service, *, game_id: str, image: str) -> str:
    """What an operator might do by hand: a container with our labels and a game RTM knows nothing of."""
    labels = {
        "com.galaxy.owner": "rtmanager",
        "com.galaxy.stack": service.playground.stack,
        "com.galaxy.kind": "game-engine",
        "com.galaxy.game_id": game_id,
        "com.galaxy.engine_image_ref": image,
    }
    name = f"galaxy-game-{game_id}"
    made = client.containers.run(
        image, detach=True, name=name, hostname=name, labels=labels, network=service.playground.network,
        tmpfs={"/var/lib/galaxy-game": ""},
    )  # fmt: skip
    return str(made.id)


def has_reconciled(service: Service) -> bool:
    """Whether a periodic reconcile has ended well. Celery makes the table of its results with the first of them."""
    if service.rows("SELECT to_regclass('celery_taskmeta')") == [(None,)]:
        return False
    done = "SELECT 1 FROM celery_taskmeta WHERE name = 'rtmanager.reconcile' AND status = 'SUCCESS'"
    return bool(service.rows(done))


def test_1_the_life_of_a_game(service: Service, engine_image: str, engine_image_next: str) -> None:
    game_id = service.playground.game_id("life")

    service.start_job(game_id, engine_image)
    started = service.result(game_id)
    assert (started.outcome, started.error_code) == ("success", "")
    assert started.engine_endpoint == f"http://galaxy-game-{game_id}:8080"
    assert service.record(game_id)["current_container_id"] == started.container_id

    service.stop_job(game_id, "cancelled")
    service.results(game_id, 2)
    stopped = service.record(game_id)
    assert (stopped["status"], stopped["current_container_id"]) == ("stopped", started.container_id)

    restarted = service.post(game_id, "restart").json()
    assert (restarted["status"], restarted["engine_endpoint"]) == ("running", started.engine_endpoint)
    assert restarted["current_container_id"] != started.container_id

    patched = service.post(game_id, "patch", image_ref=engine_image_next).json()
    assert (patched["status"], patched["current_image_ref"]) == ("running", engine_image_next)
    assert patched["current_container_id"] != restarted["current_container_id"]
    assert service.playground.ask_engine(game_id, "/healthz") == "ok\n"

    assert service.post(game_id, "stop", reason="admin_request").json()["status"] == "stopped"

    removed = service.client.delete(f"/api/v1/internal/runtimes/{game_id}/container")
    assert removed.status_code == 200
    assert (removed.json()["status"], removed.json()["current_container_id"]) == ("removed", None)
    assert service.playground.containers(game_id) == []
    assert (service.playground.state_root / game_id).is_dir()

    log = [(one["op_kind"], one["op_source"], one["outcome"]) for one in reversed(service.operations(game_id))]
    assert log == [
        ("start", "lobby_stream", "success"),
        ("stop", "lobby_stream", "success"),
        ("restart", "admin_rest", "success"),
        ("patch", "admin_rest", "success"),
        ("stop", "admin_rest", "success"),
        ("cleanup_container", "admin_rest", "success"),
    ]


def test_2_a_start_replayed(service: Service, engine_image: str) -> None:
    game_id = service.playground.game_id("replay")

    service.start_job(game_id, engine_image)
    service.start_job(game_id, engine_image)

    first, second = service.results(game_id, 2)
    assert (first.error_code, second.error_code) == ("", "replay_no_op")
    assert (first.container_id, first.engine_endpoint) == (second.container_id, second.engine_endpoint)
    assert len(service.playground.containers(game_id)) == 1


def test_3_a_stop_replayed(service: Service, engine_image: str) -> None:
    game_id = service.playground.game_id("stops")
    service.start_job(game_id, engine_image)
    service.stop_job(game_id)
    service.results(game_id, 2)
    stopped_at = service.record(game_id)["stopped_at"]

    service.stop_job(game_id)

    assert [one.error_code for one in service.results(game_id, 3)] == ["", "", "replay_no_op"]
    assert service.record(game_id)["stopped_at"] == stopped_at


def test_4_what_happens_outside_is_seen(
    make_service: MakeService, docker_client: docker.DockerClient, engine_image: str
) -> None:
    service = make_service(**SOON)
    service.start()
    lost, found = service.playground.game_id("lost"), service.playground.game_id("found")
    service.start_job(lost, engine_image)
    container_id = service.result(lost).container_id

    docker_client.containers.get(container_id).remove(force=True)
    made = hand_made(docker_client, service, game_id=found, image=engine_image)

    wait_for(lambda: "container_disappeared" in event_types(service, lost), what="container_disappeared")
    wait_for(lambda: service.has_record(found), what="the adoption")
    assert service.record(lost)["status"] == "removed"
    assert (service.record(found)["status"], service.record(found)["current_container_id"]) == ("running", made)
    (adopted,) = service.operations(found)
    assert (adopted["op_kind"], adopted["op_source"]) == ("reconcile_adopt", "auto_reconcile")
    assert event_types(service, lost).count("container_disappeared") == 1


def test_5_an_image_that_cannot_be_resolved(service: Service) -> None:
    game_id = service.playground.game_id("nothing")

    service.start_job(game_id, "galaxy-engine-that-is-nowhere:1.0.0")

    assert (service.result(game_id).outcome, service.result(game_id).error_code) == ("failure", "image_pull_failed")
    intents = [one for one in service.entries(INTENTS) if json.loads(one["payload_json"])["game_id"] == game_id]
    assert [one["notification_type"] for one in intents] == ["runtime.image_pull_failed"]
    assert not service.has_record(game_id)


def test_6_two_stacks_on_one_daemon(
    service: Service,
    docker_client: docker.DockerClient,
    make_service: MakeService,
    engine_image: str,
) -> None:
    game_id = service.playground.game_id("ours")
    service.start_job(game_id, engine_image)
    ours = service.result(game_id).container_id
    other = make_service(**SOON)
    other.start()
    theirs = other.playground.game_id("theirs")
    other.start_job(theirs, engine_image)
    other.result(theirs)

    wait_for(lambda: has_reconciled(other), what="a reconcile of the other stack")

    assert not other.has_record(game_id)
    assert docker_client.containers.get(ours).status == "running"
    assert service.record(game_id)["status"] == "running"


def test_7_create_without_start(service: Service, engine_image: str) -> None:
    game_id = service.playground.game_id("prepared")

    created = service.post(game_id, "start", image_ref=engine_image, no_start=True)
    assert (created.status_code, created.json()["status"], created.json()["started_at"]) == (200, "stopped", None)
    assert (service.playground.state_root / game_id).is_dir()
    assert service.record(game_id) == created.json()

    again = service.post(game_id, "start", image_ref=engine_image, no_start=True)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert service.rows("SELECT count(*) FROM runtimes_runtime WHERE game_id = %s", game_id) == [(1,)]

    assert service.client.delete(f"/api/v1/internal/runtimes/{game_id}/container").json()["status"] == "removed"
    assert service.playground.containers(game_id) == []

    unknown = service.playground.game_id("unknown")
    refused = service.post(unknown, "start", image_ref="galaxy-engine-that-is-nowhere:1.0.0", no_start=True)
    assert (refused.status_code, refused.json()["error"]["code"]) == (500, "image_pull_failed")
    assert not service.has_record(unknown)


def test_8_the_whole_service_restarts_while_a_game_runs(make_service: MakeService, engine_image: str) -> None:
    service = make_service()
    service.start()
    game_id = service.playground.game_id("lasting")
    service.start_job(game_id, engine_image)
    container_id = service.result(game_id).container_id
    (before,) = service.playground.containers(game_id)

    service.stop()
    service.start_job(game_id, engine_image)
    service.stop_job(game_id)
    (between,) = service.playground.containers(game_id)
    service.start()

    assert between.attrs["State"]["StartedAt"] == before.attrs["State"]["StartedAt"]
    assert [one.error_code for one in service.results(game_id, 3)] == ["", "replay_no_op", ""]
    assert {one.container_id for one in service.results(game_id, 3)} == {container_id}
    assert service.record(game_id)["status"] == "stopped"

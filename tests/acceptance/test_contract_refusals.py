"""The error table of the contract, asked of the whole service: each refusal has its code and disturbs nothing."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import docker
import psycopg2
import pytest

from tests.acceptance.contract_client import API, cleanup, derive, verdict
from tests.servers.service import Service


@pytest.fixture(scope="module")
def unversioned_image(docker_client: docker.DockerClient, engine_image: str) -> str:
    """The healthy engine under a tag that is no version."""
    return derive(docker_client, engine_image, "stable")


def tagged(image_ref: str, tag: str) -> str:
    return f"{image_ref.rpartition(':')[0]}:{tag}"


def started_at(service: Service, game_id: str) -> str:
    """Return the start time of the container as Docker reports it: each restart changes it."""
    state = service.playground.inspect(game_id)["State"]
    assert state["Status"] == "running"
    return str(state["StartedAt"])


@contextmanager
def no_record_of(service: Service, game_id: str) -> Iterator[None]:
    """The database refuses to store a record of one game."""
    address = service.servers.postgres.url(service.servers.database)
    table = "ALTER TABLE runtimes_runtime"
    with closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"{table} ADD CONSTRAINT not_this_one CHECK (game_id <> %s) NOT VALID", [game_id])
        yield
        cursor.execute(f"{table} DROP CONSTRAINT not_this_one")


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        pytest.param("start", b'{"image_ref": 7}', id="wrong-type"),
        pytest.param("start", b'{"image_ref": ""}', id="empty"),
        pytest.param("start", b'{"image_ref": "a:1", "no_start": "yes"}', id="text-for-truth"),
        pytest.param("start", b'{"image_ref": "a:1"} {}', id="trailing-data"),
        pytest.param("start", b'{"image_ref": "' + b"a" * 70_000 + b'"}', id="too-large"),
        pytest.param("start", b"", id="no-body"),
        pytest.param("stop", b'{"reason": "because"}', id="unknown-reason"),
        pytest.param("stop", b"{}", id="no-reason"),
        pytest.param("stop", b"not json", id="not-json"),
        pytest.param("restart", b'{"image_ref": "a:1"}', id="restart-with-a-wish"),
        pytest.param("restart", b"[]", id="list"),
        pytest.param("patch", b'{"image_ref": "a:1.0.1", "force": true}', id="unknown-field"),
    ],
)
def test_input_of_another_structure_is_an_invalid_request(
    service: Service, game_id: str, verb: str, body: bytes
) -> None:
    path = f"{API}/runtimes/{game_id}/{verb}"

    answer = service.client.post(path, content=body, headers={"Content-Type": "application/json"})

    assert verdict(answer) == (400, "invalid_request")
    assert service.operations(game_id) == []


@pytest.mark.parametrize("game_id", ["-game", "a.b", "a" * 52, "a b"])
def test_what_cannot_name_a_game_is_an_invalid_request(service: Service, game_id: str) -> None:
    got = service.client.get(f"{API}/runtimes/{game_id}")
    started = service.post(game_id, "start", image_ref="engine:1.0.0")

    assert verdict(got) == verdict(started) == (400, "invalid_request")


def test_the_longest_name_of_a_game_is_taken(service: Service, engine_image: str) -> None:
    game_id = service.playground.game_id("x").ljust(51, "_")

    answer = service.post(game_id, "start", image_ref=engine_image)

    assert answer.json()["engine_endpoint"] == f"http://galaxy-game-{game_id}:8080"
    assert service.playground.inspect(game_id)["State"]["Running"]


def test_a_bad_image_reference_is_refused_before_any_docker_work(service: Service, game_id: str) -> None:
    answer = service.post(game_id, "start", image_ref="Registry//Engine:1.0.0")

    (operation,) = service.operations(game_id)
    assert verdict(answer) == (400, "start_config_invalid")
    assert {"pull", "create", "start"}.isdisjoint(step["name"] for step in operation["steps"])


def test_a_state_directory_that_cannot_be_used_is_refused_before_any_docker_work(
    service: Service, game_id: str, engine_image: str
) -> None:
    (service.playground.state_root / game_id).write_text("in the way")

    answer = service.post(game_id, "start", image_ref=engine_image)

    assert verdict(answer) == (400, "start_config_invalid")
    assert service.playground.containers(game_id) == []
    assert not service.has_record(game_id)


def test_a_game_without_a_record_is_not_found(service: Service, game_id: str, engine_image: str) -> None:
    answers = [
        service.post(game_id, "stop", reason="timeout"),
        service.post(game_id, "restart"),
        service.post(game_id, "patch", image_ref=engine_image),
        cleanup(service, game_id),
        service.client.get(f"{API}/runtimes/{game_id}"),
    ]

    assert {verdict(answer) for answer in answers} == {(404, "not_found")}
    assert {one["error_code"] for one in service.operations(game_id)} == {"not_found"}


@pytest.mark.parametrize(
    ("tag", "refusal"),
    [
        pytest.param("stable", (400, "image_ref_not_semver"), id="no-version"),
        pytest.param("1.0", (400, "image_ref_not_semver"), id="half-a-version"),
        pytest.param("1.1.0", (409, "semver_patch_only"), id="another-minor"),
        pytest.param("v2.0.0", (409, "semver_patch_only"), id="another-major"),
        pytest.param("1.0.99", (500, "image_pull_failed"), id="not-to-be-had"),
    ],
)
def test_a_refused_patch_does_not_disturb_the_game(
    service: Service, game_id: str, running: dict[str, Any], tag: str, refusal: tuple[int, str]
) -> None:
    before = started_at(service, game_id)

    answer = service.post(game_id, "patch", image_ref=tagged(running["current_image_ref"], tag))

    assert verdict(answer) == refusal
    assert started_at(service, game_id) == before
    assert service.record(game_id) == running


def test_a_patch_to_a_reference_without_a_tag_is_refused(service: Service, running: dict[str, Any]) -> None:
    untagged = running["current_image_ref"].rpartition(":")[0]

    answer = service.post(running["game_id"], "patch", image_ref=untagged)

    assert verdict(answer) == (400, "image_ref_not_semver")


def test_a_game_on_an_image_without_a_version_cannot_be_patched(
    service: Service, game_id: str, unversioned_image: str, engine_image: str
) -> None:
    assert service.post(game_id, "start", image_ref=unversioned_image).status_code == 200

    answer = service.post(game_id, "patch", image_ref=engine_image)

    assert verdict(answer) == (400, "image_ref_not_semver")


def test_what_a_running_game_does_not_allow_is_a_conflict(
    service: Service, game_id: str, running: dict[str, Any], engine_image_next: str
) -> None:
    answers = [
        service.post(game_id, "start", image_ref=engine_image_next),
        service.post(game_id, "start", image_ref=running["current_image_ref"], no_start=True),
        cleanup(service, game_id),
    ]

    assert [verdict(answer) for answer in answers] == [(409, "conflict")] * 3
    assert service.record(game_id) == running


def test_a_busy_game_is_a_conflict_at_once(service: Service, game_id: str, stubborn_image: str) -> None:
    service.post(game_id, "start", image_ref=stubborn_image)
    path = f"{API}/runtimes/{game_id}/stop"
    stopping = service.client.post(path, json={"reason": "timeout"}, headers={"Prefer": "respond-async"})

    refused = service.post(game_id, "restart")

    still_open = service.client.get(stopping.headers["Location"]).json()["state"]
    assert stopping.status_code == 202
    assert verdict(refused) == (409, "conflict")
    assert still_open in {"accepted", "running"}
    assert {one["op_kind"] for one in service.operations(game_id)} == {"start", "stop"}


def test_an_image_that_docker_cannot_start_fails_and_leaves_nothing(
    service: Service, game_id: str, commandless_image: str
) -> None:
    answer = service.post(game_id, "start", image_ref=commandless_image)

    assert verdict(answer) == (500, "container_start_failed")
    assert service.playground.containers(game_id) == []
    assert not service.has_record(game_id)


def test_a_start_whose_record_cannot_be_stored_fails_and_leaves_nothing(
    service: Service, game_id: str, engine_image: str
) -> None:
    with no_record_of(service, game_id):
        answer = service.post(game_id, "start", image_ref=engine_image)

    assert verdict(answer) == (500, "container_start_failed")
    assert service.playground.containers(game_id) == []
    assert not service.has_record(game_id)

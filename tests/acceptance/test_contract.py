"""The contract sentence by sentence, where no other test asks the whole service: refusals, status changes, headers."""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import docker
import httpx
import psycopg2
import pytest

from tests.servers.service import HEALTH_EVENTS, INTENTS, RESULTS, Service
from tests.servers.waiting import wait_for

API = "/api/v1/internal"
NOWHERE = "engine-that-is-nowhere:1.0.7"
RECORD_KEYS = {
    *("game_id", "status", "current_container_id", "current_image_ref", "engine_endpoint", "state_path"),
    *("docker_network", "started_at", "stopped_at", "removed_at", "last_op_at", "created_at"),
}
OPERATION_KEYS = {
    *("id", "game_id", "op_kind", "op_source", "source_ref", "image_ref", "container_id", "state", "outcome"),
    *("error_code", "error_message", "steps", "accepted_at", "started_at", "finished_at"),
}


@pytest.fixture(scope="module")
def service_settings() -> Mapping[str, str]:
    """The engine that dies during the settling of a patch lives half a second."""
    return {"PATCH_SETTLE_SECONDS": "1.5"}


@pytest.fixture
def running(service: Service, game_id: str, engine_image: str) -> dict[str, Any]:
    """The record of a game that runs."""
    answer = service.post(game_id, "start", image_ref=engine_image)
    assert answer.status_code == 200, answer.text
    record: dict[str, Any] = answer.json()
    return record


@pytest.fixture(scope="module")
def dying_image(docker_client: docker.DockerClient, engine_image: str) -> str:
    """A patch release that lives long enough to count as started, and not long enough to count as settled."""
    return derive(docker_client, engine_image, "1.0.66", 'CMD ["sh", "-c", "sleep 0.5; exit 4"]')


@pytest.fixture(scope="module")
def commandless_image(docker_client: docker.DockerClient, engine_image: str) -> str:
    """A patch release that Docker cannot start at all."""
    return derive(docker_client, engine_image, "1.0.67", 'CMD ["/bin/nothing-of-this-name"]')


@pytest.fixture(scope="module")
def unversioned_image(docker_client: docker.DockerClient, engine_image: str) -> str:
    """The healthy engine under a tag that is no version."""
    return derive(docker_client, engine_image, "stable")


def derive(client: docker.DockerClient, image_ref: str, tag: str, *lines: str) -> str:
    """Another image of the same repository, by a Dockerfile of these lines on top of one that is there."""
    reference = f"{image_ref.rpartition(':')[0]}:{tag}"
    dockerfile = "\n".join([f"FROM {image_ref}", *lines])
    client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=reference, rm=True, forcerm=True)
    return reference


def tagged(image_ref: str, tag: str) -> str:
    return f"{image_ref.rpartition(':')[0]}:{tag}"


def verdict(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, in exactly the envelope of the contract."""
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert body["error"]["message"]
    return answer.status_code, body["error"]["code"]


def cleanup(service: Service, game_id: str) -> httpx.Response:
    return service.client.delete(f"{API}/runtimes/{game_id}/container")


def started_at(service: Service, game_id: str) -> str:
    """Docker's own word on since when the game runs: it tells of every disturbance."""
    state = service.playground.inspect(game_id)["State"]
    assert state["Status"] == "running"
    return str(state["StartedAt"])


def events_after(service: Service, game_id: str, count: int) -> list[dict[str, str]]:
    """The health events of a game once there are so many after the one of its start; before that, none."""
    events = service.entries(HEALTH_EVENTS, game_id=game_id)
    return events if len(events) > count else []


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


# The error table


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


# Status changes


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
    ("asked", "told"),
    [
        pytest.param(("stop", {"reason": "finished"}), ["container_exited"], id="stop"),
        pytest.param(("restart", {}), ["container_exited", "container_started"], id="restart"),
    ],
)
def test_an_engine_that_ended_before_its_game_was_worked_on_is_told_all_the_same(
    service: Service, game_id: str, switched_image: str, *, asked: tuple[str, dict[str, str]], told: list[str]
) -> None:
    assert service.post(game_id, "start", image_ref=switched_image).status_code == 200
    service.kill("watcher")
    (service.playground.state_root / game_id / "exit").write_text("7")
    wait_for(lambda: not service.playground.inspect(game_id)["State"]["Running"], what="the end of the engine")

    (service.playground.state_root / game_id / "exit").unlink()

    verb, body = asked
    answer = service.post(game_id, verb, **body)

    service.restart("watcher")
    _started, ended, *more = wait_for(lambda: events_after(service, game_id, len(told)), what="the events")
    assert answer.status_code == 200
    assert ended["details"] == '{"exit_code":7,"oom":false}'
    assert [one["event_type"] for one in (ended, *more)] == told


# What else an answer is


def test_records_and_operations_have_exactly_the_keys_of_the_contract(
    service: Service, running: dict[str, Any]
) -> None:
    (listed,) = service.operations(running["game_id"])

    alone = service.client.get(f"{API}/operations/{listed['id']}").json()

    assert set(running) == RECORD_KEYS
    assert alone == listed
    assert set(alone) == OPERATION_KEYS
    assert {frozenset(step) for step in alone["steps"]} == {frozenset({"name", "started_at", "duration_ms", "error"})}
    assert running["started_at"].endswith("Z")
    assert [running["stopped_at"], running["removed_at"]] == [None, None]


def test_a_request_id_is_made_up_when_missing_and_is_on_every_answer(
    service: Service, game_id: str, running: dict[str, Any]
) -> None:
    answers = [service.client.get("/healthz"), cleanup(service, game_id), service.client.get("/nowhere")]

    made_up = [answer.headers["X-Request-ID"] for answer in answers]
    latest, *_ = service.operations(game_id)
    assert len(set(made_up)) == 3
    assert latest["source_ref"] == made_up[1]
    assert running["status"] == "running"


def test_who_prefers_not_to_wait_is_told_where_the_outcome_will_be(
    service: Service, game_id: str, engine_image: str
) -> None:
    path = f"{API}/runtimes/{game_id}/start"

    answer = service.client.post(path, json={"image_ref": engine_image}, headers={"Prefer": "respond-async"})

    def finished() -> dict[str, Any] | None:
        seen: dict[str, Any] = service.client.get(answer.headers["Location"]).json()
        return seen if seen["state"] == "finished" else None

    operation = wait_for(finished, what="the outcome")
    assert operation is not None
    assert (answer.status_code, set(answer.json())) == (202, OPERATION_KEYS)
    assert answer.headers["Location"] == f"{API}/operations/{answer.json()['id']}"
    assert operation["outcome"] == "success"
    assert service.record(game_id)["status"] == "running"


def test_the_same_key_and_body_is_one_deed_with_one_answer(service: Service, game_id: str, engine_image: str) -> None:
    path, headers = f"{API}/runtimes/{game_id}", {"Idempotency-Key": f"key of {game_id}".replace(" ", "-")}

    first = service.client.post(f"{path}/start", json={"image_ref": engine_image}, headers=headers)
    service.post(game_id, "stop", reason="finished")
    again = service.client.post(f"{path}/start", json={"image_ref": engine_image}, headers=headers)
    other = service.client.post(f"{path}/start", json={"image_ref": NOWHERE}, headers=headers)

    assert (again.status_code, again.json()) == (200, first.json())
    assert verdict(other) == (409, "conflict")
    assert service.record(game_id)["status"] == "stopped"
    assert [one["op_kind"] for one in service.operations(game_id)] == ["stop", "start"]


def test_a_failure_is_answered_alike_under_its_key_and_notified_once(service: Service, game_id: str) -> None:
    path, headers = f"{API}/runtimes/{game_id}/start", {"Idempotency-Key": f"failure-{game_id}"}

    first, again = (service.client.post(path, json={"image_ref": NOWHERE}, headers=headers) for _ in range(2))

    (operation,) = service.operations(game_id)
    assert verdict(first) == verdict(again) == (500, "image_pull_failed")
    assert first.json() == again.json()

    def notified() -> list[dict[str, Any]]:
        payloads = [json.loads(one["payload_json"]) for one in service.entries(INTENTS)]
        return [one for one in payloads if one["game_id"] == game_id]

    (payload,) = wait_for(notified, what="the intent")
    assert set(payload) == {"game_id", "image_ref", "error_code", "error_message", "attempted_at_ms"}
    assert payload["error_message"] == operation["error_message"]
    assert service.entries(RESULTS, game_id=game_id) == []


def test_lists_are_paged_and_filtered_by_status(service: Service, engine_image: str) -> None:
    games = [service.playground.game_id(f"listed-{number}") for number in range(3)]
    for game_id in games:
        assert service.post(game_id, "start", image_ref=engine_image, no_start=True).status_code == 200

    def walk(address: str) -> Iterator[dict[str, Any]]:
        while address:
            answer = service.client.get(address)
            assert set(answer.json()) == {"items"}
            yield from answer.json()["items"]
            address = answer.links.get("next", {}).get("url", "")

    stopped = [one["game_id"] for one in walk(f"{API}/runtimes?status=stopped&limit=1")]
    everything = [one["game_id"] for one in walk(f"{API}/runtimes?limit=2")]
    assert [game_id for game_id in stopped if game_id in games] == games
    assert set(stopped) <= set(everything)
    assert len(everything) == len(set(everything))
    assert {one["status"] for one in walk(f"{API}/runtimes?status=stopped")} == {"stopped"}


@pytest.mark.parametrize("query", ["status=dead", "limit=0", "limit=many", "cursor=!"])
def test_a_question_that_cannot_be_meant_is_an_invalid_request(service: Service, query: str) -> None:
    assert verdict(service.client.get(f"{API}/runtimes?{query}")) == (400, "invalid_request")

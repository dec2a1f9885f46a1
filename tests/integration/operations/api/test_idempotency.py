"""One idempotency key is one operation: repeated, concurrent, expired and different requests."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.db.models.functions import Now
from django.test import Client
from pytest_django import Settings

from operations import runner
from operations.idempotency import accept_once
from operations.intake import OperationRequest
from operations.models import IdempotencyKey, Operation
from operations.states import OperationKind, OperationSource
from runtimes.containers.fake.adapter import FakeDocker
from runtimes.exceptions import ConflictError
from tests.conftest import RtmSettings
from tests.integration.rest_harness import IMAGE, INLINE_WORKER, NEXT_PATCH, RUNTIMES, call, start, stop

pytestmark = pytest.mark.usefixtures("trusted_network", "engine")
CALLERS = 6


def age_keys(age: timedelta) -> None:
    IdempotencyKey.objects.update(created_at=Now() - age)


def test_the_same_request_again_gets_the_same_response_and_runs_once(client: Client) -> None:
    first = start(client, Idempotency_Key="k-1")

    again = start(client, Idempotency_Key="k-1")

    assert (again.status_code, again.content) == (200, first.content)
    assert ("Idempotent-Replayed" in first, again["Idempotent-Replayed"]) == (False, "true")
    assert Operation.objects.count() == 1


def test_a_repeated_response_has_the_record_of_the_first_response(client: Client) -> None:
    first = start(client, Idempotency_Key="k-1")
    stop(client)

    again = start(client, Idempotency_Key="k-1")

    assert again.content == first.content
    assert client.get(f"{RUNTIMES}/g-1").json()["status"] == "stopped"


def test_a_repeated_failure_returns_the_same_failure(client: Client, engine: FakeDocker) -> None:
    first = start(client, image_ref="galaxy-engine:9.9.9", Idempotency_Key="k-1")
    engine.images["galaxy-engine:9.9.9"] = engine.images[IMAGE]

    again = start(client, image_ref="galaxy-engine:9.9.9", Idempotency_Key="k-1")

    assert (first.status_code, again.status_code, again.content) == (500, 500, first.content)
    assert Operation.objects.count() == 1


def test_whitespace_and_field_order_do_not_make_another_request(client: Client) -> None:
    bodies = [b'{"image_ref":"galaxy-engine:1.0.0","no_start":true}', b'{ "no_start": true, "image_ref":"%b" }']
    path, headers = f"{RUNTIMES}/g-1/start", {"Idempotency-Key": "k-1"}

    answers = [
        client.generic("POST", path, body.replace(b"%b", IMAGE.encode()), "application/json", headers=headers)
        for body in bodies
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert Operation.objects.count() == 1


@pytest.mark.parametrize(
    ("verb", "game_id", "body"),
    [
        ("start", "g-1", {"image_ref": NEXT_PATCH}),
        ("start", "g-1", {"image_ref": IMAGE, "no_start": True}),
        ("start", "g-2", {"image_ref": IMAGE}),
        ("patch", "g-1", {"image_ref": IMAGE}),
        ("restart", "g-1", {}),
    ],
)
def test_the_key_of_another_request_is_a_conflict_and_nothing_happens(
    client: Client, verb: str, game_id: str, body: dict[str, Any]
) -> None:
    start(client, Idempotency_Key="k-1")

    response = call(client, verb, game_id, body=body, Idempotency_Key="k-1")

    assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")
    assert "used for another request" in response.json()["error"]["message"]
    assert Operation.objects.count() == 1


def test_each_caller_has_its_own_keys(client: Client) -> None:
    start(client, Idempotency_Key="k-1", X_Galaxy_Caller="gm")

    response = stop(client, Idempotency_Key="k-1", X_Galaxy_Caller="admin")

    assert (response.status_code, response.json()["status"]) == (200, "stopped")


def test_a_key_can_be_used_again_after_a_day(client: Client) -> None:
    start(client, Idempotency_Key="k-1")
    age_keys(timedelta(hours=24, seconds=1))

    response = stop(client, Idempotency_Key="k-1")

    assert (response.status_code, response.json()["status"]) == (200, "stopped")
    assert IdempotencyKey.objects.get().operation.op_kind == "stop"


def test_a_key_cannot_be_used_again_within_a_day(client: Client) -> None:
    start(client, Idempotency_Key="k-1")
    age_keys(timedelta(hours=23, minutes=59))

    assert stop(client, Idempotency_Key="k-1").status_code == 409


def test_the_next_request_deletes_expired_keys(client: Client) -> None:
    for number in range(3):
        start(client, f"old-{number}", Idempotency_Key=f"old-{number}")
    age_keys(timedelta(days=2))

    start(client, Idempotency_Key="new")

    assert [key.key for key in IdempotencyKey.objects.all()] == ["new"]


@pytest.mark.usefixtures("no_worker")
def test_a_request_refused_because_the_game_is_busy_does_not_use_its_key(client: Client, settings: Settings) -> None:
    start(client)
    refused = stop(client, Idempotency_Key="k-1")
    runner.run(Operation.objects.get().pk)
    settings.RTM_NOTIFIER = INLINE_WORKER

    response = stop(client, Idempotency_Key="k-1")

    assert (refused.status_code, response.status_code) == (409, 200)


def test_a_request_with_an_invalid_body_or_without_redis_does_not_use_its_key(
    client: Client, rtm_settings: RtmSettings
) -> None:
    redis_url = rtm_settings().redis_url
    bad = call(client, "start", body={"image": IMAGE}, Idempotency_Key="k-1")
    rtm_settings(redis_url="redis://127.0.0.1:1/0")
    away = start(client, Idempotency_Key="k-1")
    rtm_settings(redis_url=redis_url)

    response = start(client, Idempotency_Key="k-1")

    assert (bad.status_code, away.status_code, response.status_code) == (400, 503, 200)
    assert "Idempotent-Replayed" not in response


def test_a_request_that_fails_without_docker_does_not_use_its_key(client: Client, engine: FakeDocker) -> None:
    engine.disconnect()
    refused = start(client, Idempotency_Key="k-1")
    engine.reconnect()

    response = start(client, Idempotency_Key="k-1")

    assert (refused.status_code, response.status_code) == (503, 200)


@pytest.mark.usefixtures("no_worker")
def test_asked_again_while_it_is_open_the_call_waits_for_the_same_operation(client: Client) -> None:
    first = start(client, Idempotency_Key="k-1")
    runner.run(Operation.objects.get().pk)

    again = start(client, Idempotency_Key="k-1")

    assert (first.status_code, again.status_code, again.json()["status"]) == (202, 200, "running")
    assert Operation.objects.count() == 1


@pytest.mark.usefixtures("no_worker")
def test_who_prefers_not_to_wait_is_shown_the_same_operation_again(client: Client) -> None:
    first = start(client, Idempotency_Key="k-1", Prefer="respond-async")
    runner.run(Operation.objects.get().pk)

    again = start(client, Idempotency_Key="k-1", Prefer="respond-async")

    assert (again.status_code, again["Location"], again.json()["id"]) == (202, first["Location"], first.json()["id"])
    assert again.json()["outcome"] == "success"


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize("same_game", [True, False])
def test_callers_at_the_same_moment_with_one_key_make_one_operation(same_game: bool) -> None:  # noqa: FBT001
    together = threading.Barrier(CALLERS)

    def ask(number: int) -> int:
        together.wait()
        try:
            return int(start(Client(), "g-1" if same_game else f"g-{number}", Idempotency_Key="k-1").status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(CALLERS) as pool:
        statuses = sorted(pool.map(ask, range(CALLERS)))

    assert statuses == ([202] * CALLERS if same_game else [202] + [409] * (CALLERS - 1))
    assert Operation.objects.count() == 1


def request(**changes: Any) -> OperationRequest:
    fields = {"game_id": "g-1", "op_kind": OperationKind.START, "op_source": OperationSource.GM_REST, "job_key": "j-1"}
    return OperationRequest(**fields | changes)


@pytest.mark.usefixtures("no_worker")
def test_the_database_itself_keeps_a_second_operation_from_a_key() -> None:
    known, _is_replayed = accept_once(request(), caller="gm", key="k-1")

    with pytest.raises(IntegrityError, match="idempotency_key_once_per_caller"):
        IdempotencyKey.objects.create(caller="gm", key="k-1", fingerprint="", operation=known.operation)


@pytest.mark.usefixtures("no_worker")
def test_a_refusal_says_what_the_key_was_used_for() -> None:
    known, _is_replayed = accept_once(request(), caller="gm", key="k-1")

    with pytest.raises(ConflictError, match=f"operation {known.operation_id}, start of game g-1"):
        accept_once(request(op_kind=OperationKind.STOP), caller="gm", key="k-1")

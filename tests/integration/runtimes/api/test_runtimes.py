"""Lists, single records and readiness over HTTP, on a real database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from operations.api.serializers import EXAMPLE as OPERATION_EXAMPLE
from operations.models import Operation
from runtimes.containers.fake.adapter import shared_docker
from runtimes.models import Runtime
from tests.conftest import RtmSettings

AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
RUNTIMES = "/api/v1/internal/runtimes"


@pytest.fixture(autouse=True)
def _trusted_network(rtm_settings: RtmSettings) -> None:
    rtm_settings(api_auth="network")


def add_runtime(game_id: str, *, status: str = "running") -> None:
    container_id = None if status == "removed" else "c" * 64
    Runtime.objects.create(
        game_id=game_id,
        status=status,
        current_container_id=container_id,
        current_image_ref="e:1",
        started_at=AT,
        removed_at=AT if status == "removed" else None,
        last_op_at=AT,
        created_at=AT,
    )


def add_operation(number: int, *, game_id: str = "g-1") -> Operation:
    return Operation.objects.create(
        game_id=game_id,
        op_kind="start",
        op_source="lobby_stream",
        job_key=f"k-{number}",
        state="finished",
        outcome="success",
        steps=[{"name": "create", "started_at": "2026-11-21T08:30:00Z", "duration_ms": 11, "error": ""}],
        started_at=AT,
        finished_at=AT + timedelta(seconds=1),
    )


def read_all(client: Client, address: str) -> list[list[Any]]:
    pages = []
    while address:
        response = client.get(address)
        assert response.status_code == 200
        assert list(response.json()) == ["items"]
        pages.append(response.json()["items"])
        address = response.get("Link", "").partition("<")[2].partition(">")[0]
    return pages


def test_an_empty_service_lists_no_runtimes(client: Client) -> None:
    assert client.get(RUNTIMES).json() == {"items": []}


def test_following_the_links_shows_every_runtime_once_and_in_order(client: Client) -> None:
    names = sorted(["a", "a-1", "Ab", "a_1", "b2", "b10", "Z9"])
    for name in names:
        add_runtime(name)

    pages = read_all(client, f"{RUNTIMES}?limit=3")

    listed = [record["game_id"] for page in pages for record in page]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert sorted(listed) == names
    assert listed == list(Runtime.objects.order_by("game_id").values_list("game_id", flat=True))


def test_a_page_that_is_exactly_full_links_no_further(client: Client) -> None:
    for name in ("a", "b"):
        add_runtime(name)

    assert "Link" not in client.get(f"{RUNTIMES}?limit=2")


def test_a_status_filters_the_list_and_its_links(client: Client) -> None:
    for number in range(4):
        add_runtime(f"r-{number}")
        add_runtime(f"x-{number}", status="removed")

    pages = read_all(client, f"{RUNTIMES}?status=removed&limit=3")

    assert [record["game_id"] for page in pages for record in page] == ["x-0", "x-1", "x-2", "x-3"]


def test_a_runtime_that_does_not_exist_is_not_found(client: Client) -> None:
    response = client.get(f"{RUNTIMES}/g-1")

    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


def test_the_operations_of_a_game_are_listed_newest_first(client: Client) -> None:
    ids = [str(add_operation(number).pk) for number in range(5)]
    add_operation(5, game_id="g-2")

    pages = read_all(client, f"{RUNTIMES}/g-1/operations?limit=2")

    assert [operation["id"] for page in pages for operation in page] == ids[::-1]


def test_an_unknown_game_has_no_operations(client: Client) -> None:
    assert client.get(f"{RUNTIMES}/g-1/operations").json() == {"items": []}


def test_an_operation_is_found_by_its_id(client: Client) -> None:
    operation = add_operation(1)

    shown = client.get(f"/api/v1/internal/operations/{operation.pk}").json()

    assert list(shown) == list(OPERATION_EXAMPLE)
    assert shown["id"] == str(operation.pk)
    assert shown["finished_at"] == "2026-11-21T08:30:01Z"


@pytest.mark.parametrize("operation_id", ["1", "9223372036854775808", "9999999999999999999"])
def test_an_operation_that_does_not_exist_is_not_found(client: Client, operation_id: str) -> None:
    response = client.get(f"/api/v1/internal/operations/{operation_id}")

    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("size", [1, 20])
def test_lists_take_one_query_however_long_they_are(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries, size: int
) -> None:
    for number in range(size):
        add_runtime(f"g-{number}")
        add_operation(number, game_id="g-0")

    with django_assert_num_queries(2):
        listed = [client.get(RUNTIMES), client.get(f"{RUNTIMES}/g-0/operations")]

    assert [len(response.json()["items"]) for response in listed] == [size, size]


@pytest.fixture
def ready_docker(settings: Settings) -> None:
    settings.RTM_CONTAINERS = "runtimes.containers.fake.adapter.FakeAdapter"
    shared_docker.reset()
    shared_docker.networks.add("galaxy-net")


@pytest.mark.usefixtures("ready_docker")
def test_with_everything_there_the_service_is_ready(client: Client) -> None:
    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json().keys() == {"status", "checks", "components"}
    assert response.json()["status"] == "ready"
    assert response.json()["checks"] == {"database": "ok", "redis": "ok", "docker": "ok", "network": "ok"}


@pytest.mark.usefixtures("ready_docker")
def test_a_missing_network_is_named_with_the_command_that_makes_it(client: Client) -> None:
    shared_docker.networks.clear()

    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "docker_unavailable"
    assert "docker network create galaxy-net" in response.json()["checks"]["network"]
    assert response.json()["checks"]["docker"] == "ok"


@pytest.mark.usefixtures("ready_docker")
def test_each_missing_dependency_is_reported_separately(client: Client, rtm_settings: RtmSettings) -> None:
    rtm_settings(redis_url="redis://127.0.0.1:1/0")
    shared_docker.disconnect()

    checks = client.get("/readyz").json()["checks"]

    assert checks["database"] == "ok"
    assert [name for name, said in checks.items() if said != "ok"] == ["redis", "docker", "network"]
    shared_docker.reconnect()

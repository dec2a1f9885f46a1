"""What readyz and metrics say beside the checks, on real servers."""

import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.db.models.functions import Now
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from operations.models import Heartbeat
from operations.monitoring import counters, heartbeats
from operations.monitoring.heartbeats import LOOPS, HeartbeatName
from rtmanager.monitoring import snapshot
from rtmanager.monitoring.metrics.gauges import CATALOGUE
from runtimes.containers.fake.adapter import shared_docker
from tasks.worker import heartbeat
from tests.conftest import RtmSettings
from tests.servers.databases import RedisServer

Samples = dict[tuple[str, str], float]


@pytest.fixture(autouse=True)
def _ready_docker(settings: Settings) -> None:
    settings.RTM_CONTAINERS = "runtimes.containers.fake.adapter.FakeAdapter"
    shared_docker.reset()
    shared_docker.networks.add("galaxy-net")


@pytest.fixture
def long_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A web process that has been there for hours."""
    monkeypatch.setattr(snapshot, "_STARTED_AT", snapshot._STARTED_AT - 10_000)  # noqa: SLF001 - time is all that passes


@pytest.fixture
def just_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has come up this very moment, however long the tests before this one took."""
    monkeypatch.setattr(snapshot, "_STARTED_AT", time.monotonic())


def readyz(client: Client) -> tuple[int, dict[str, str]]:
    response = client.get("/readyz")
    return response.status_code, response.json()["components"]


def scrape(client: Client) -> Samples:
    """(name, value of the label) → figure."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.content.decode())
    samples: list[Any] = [sample for family in families for sample in family.samples]
    return {(sample.name, ",".join(sample.labels.values())): sample.value for sample in samples}


def beat_all() -> None:
    for name in HeartbeatName:
        heartbeats.record_heartbeat(name)


@pytest.mark.usefixtures("long_up")
def test_a_service_that_does_its_work_is_well(client: Client) -> None:
    beat_all()

    status, components = readyz(client)

    assert (status, set(components.values())) == (200, {"ok"})
    assert set(components) == {
        *LOOPS,
        "canary",
        "full_reconcile",
        "operations",
        "leases",
        "outbox",
        "state_root",
        "streams",
    }


@pytest.mark.usefixtures("just_up")
def test_a_service_that_just_started_reports_starting(client: Client) -> None:
    status, components = readyz(client)

    assert status == 200
    assert {name for name, said in components.items() if said == "starting"} == {*LOOPS, "canary", "full_reconcile"}


@pytest.mark.usefixtures("long_up")
def test_a_stuck_relay_is_reported_and_does_not_affect_readiness(client: Client) -> None:
    beat_all()
    Heartbeat.objects.filter(name="relay").update(seen_at=Now() - timedelta(minutes=5))

    status, components = readyz(client)

    assert status == 200
    assert components.pop("relay").startswith("not for 5 min")
    assert set(components.values()) == {"ok"}


def test_without_redis_the_streams_are_unknown_and_not_empty(client: Client, rtm_settings: RtmSettings) -> None:
    rtm_settings(redis_url="redis://127.0.0.1:1/0")

    status, components = readyz(client)
    samples = scrape(client)

    assert (status, components["streams"]) == (503, "unknown: no figures from Redis")
    assert samples["rtmanager_dependency_up", "redis"] == 0
    assert [name for name, _label in samples if name.startswith("rtmanager_stream")] == []
    assert samples["rtmanager_outbox_unpublished", ""] == 0


def test_a_key_of_another_kind_under_a_stream_leaves_the_service_ready(
    client: Client, redis_server: RedisServer
) -> None:
    with redis_server.client(0) as outside:
        outside.set("runtime:start_jobs", "no stream")

    status, components = readyz(client)

    assert (status, components["streams"]) == (200, "unknown: no figures from Redis")


def test_unread_jobs_are_counted_per_stream(client: Client, redis_server: RedisServer) -> None:
    with redis_server.client(0) as outside:
        outside.xadd("runtime:stop_jobs", {"game_id": "g"})

    samples = scrape(client)

    assert samples["rtmanager_stream_lag", "runtime:stop_jobs"] == 1
    assert samples["rtmanager_stream_lag", "runtime:start_jobs"] == 0
    assert samples["rtmanager_stream_pending", "runtime:stop_jobs"] == 0


def test_what_there_is_none_of_is_zero_and_what_is_not_known_is_absent(client: Client) -> None:
    samples = scrape(client)

    zero = {sample for sample, value in samples.items() if value == 0}
    assert {
        ("rtmanager_runtimes", "running"),
        ("rtmanager_runtimes", "removed"),
        ("rtmanager_operations_open", "accepted"),
        ("rtmanager_operation_oldest_open_age_seconds", ""),
        ("rtmanager_outbox_oldest_age_seconds", ""),
    } <= zero
    assert [name for name, _label in samples if "canary" in name or "loop" in name or "full_reconcile" in name] == []
    assert {label for name, label in samples if name == "rtmanager_dependency_up"} == {
        "database", "redis", "docker", "network",
    }  # fmt: skip


def test_heartbeats_are_exported_as_ages(client: Client) -> None:
    beat_all()
    heartbeats.record_heartbeat(HeartbeatName.CANARY, round_trip_seconds=0.25)
    Heartbeat.objects.filter(name="relay").update(seen_at=Now() - timedelta(minutes=5))

    samples = scrape(client)

    assert samples["rtmanager_canary_round_trip_seconds", ""] == 0.25
    assert samples["rtmanager_canary_age_seconds", ""] < 30
    assert 299 < samples["rtmanager_loop_age_seconds", "relay"] < 330
    assert samples["rtmanager_loop_age_seconds", "bridge"] < 30


def test_the_figures_need_no_token(client: Client, rtm_settings: RtmSettings) -> None:
    rtm_settings(api_auth="token")

    assert client.get("/metrics").status_code == 200


def test_counters_stand_at_zero_before_anything_has_happened(client: Client) -> None:
    samples = scrape(client)

    assert samples["rtmanager_operations_finished_total", "image_pull_failed,start,failure"] == 0
    assert samples["rtmanager_operation_wait_seconds_bucket", "start,+Inf"] == 0
    assert samples["rtmanager_periodic_tasks_total", "failure,reconcile"] == 0
    assert ("rtmanager_http_requests_total", "GET,api/v1/internal/runtimes,2xx") in samples
    assert samples["rtmanager_workers_alive", ""] == 0
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name, _labels in samples if name.startswith("rtmanager_")}
    assert families - set(CATALOGUE) == set()


def test_a_roll_up_does_not_change_the_counters(client: Client) -> None:
    counters.count("operations_finished", "stop", "success", "")
    before = scrape(client)

    counters.roll_up()

    sample = ("rtmanager_operations_finished_total", ",stop,success")
    assert before[sample] == scrape(client)[sample] == 1


def test_requests_are_counted_by_the_pattern_of_their_route(client: Client) -> None:
    sample = ("rtmanager_http_requests_total", "GET,api/v1/internal/runtimes/<str:game_id>,4xx")
    before = scrape(client)[sample]

    client.get("/api/v1/internal/runtimes/unknown-game")
    client.get("/no/such/page")

    after = scrape(client)
    assert after[sample] == before + 1
    assert {name for name in after if "unknown-game" in name[1] or "such" in name[1]} == set()


def test_workers_with_a_heartbeat_are_counted_with_their_slots(client: Client) -> None:
    heartbeats.record_heartbeat("worker:host:7", **heartbeat.describe(16, busy=3))
    heartbeats.record_heartbeat("worker:gone:1", slots=16, busy=16)
    Heartbeat.objects.filter(name="worker:gone:1").update(seen_at=Now() - timedelta(minutes=2))

    samples = scrape(client)

    assert samples["rtmanager_workers_alive", ""] == 1
    assert samples["rtmanager_worker_slots", "busy"] == 3
    assert samples["rtmanager_worker_slots", "free"] == 13


def test_without_the_database_nothing_is_zero(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "PORT", "1")

    samples = scrape(client)

    assert samples["rtmanager_dependency_up", "database"] == 0
    assert [name for name, _labels in samples if name.startswith(("rtmanager_operation", "rtmanager_worker"))] == []

"""What readyz and metrics say beside the checks, on real servers."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from operations import pulses
from operations.models import Pulse
from operations.pulses import LOOPS, PulseName
from rtmanager.api import observation
from runtimes.containers.fake import shared_engine
from tests.conftest import RtmSettings
from tests.servers.databases import RedisServer

Samples = dict[tuple[str, str], float]


@pytest.fixture(autouse=True)
def _ready_docker(settings: Settings) -> None:
    settings.RTM_CONTAINERS = "runtimes.containers.fake.FakeContainers"
    shared_engine.reset()
    shared_engine.networks.add("galaxy-net")


@pytest.fixture
def long_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A web process that has been there for hours."""
    monkeypatch.setattr(observation, "_BEGAN", observation._BEGAN - 10_000)  # noqa: SLF001 - time is all that passes


def readyz(client: Client) -> tuple[int, dict[str, str]]:
    response = client.get("/readyz")
    return response.status_code, response.json()["vitals"]


def scrape(client: Client) -> Samples:
    """(name, value of the label) → figure."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.content.decode())
    samples: list[Any] = [sample for family in families for sample in family.samples]
    return {(sample.name, ",".join(sample.labels.values())): sample.value for sample in samples}


def beat_all() -> None:
    for name in PulseName:
        pulses.beat(name)


@pytest.mark.usefixtures("long_up")
def test_a_service_that_does_its_work_is_well(client: Client) -> None:
    beat_all()

    status, vitals = readyz(client)

    assert (status, set(vitals.values())) == (200, {"ok"})
    assert set(vitals) == {*LOOPS, "canary", "relist", "operations", "leases", "outbox", "streams"}


def test_a_service_that_has_just_been_started_says_so(client: Client) -> None:
    status, vitals = readyz(client)

    assert status == 200
    assert {name for name, said in vitals.items() if said == "starting"} == {*LOOPS, "canary", "relist"}


@pytest.mark.usefixtures("long_up")
def test_a_stuck_relay_is_told_and_takes_nothing_out_of_service(client: Client) -> None:
    beat_all()
    Pulse.objects.filter(name="relay").update(beat_at=Now() - timedelta(minutes=5))

    status, vitals = readyz(client)

    assert status == 200
    assert vitals.pop("relay").startswith("not for 5 min")
    assert set(vitals.values()) == {"ok"}


def test_without_redis_the_streams_are_unknown_and_not_empty(client: Client, rtm_settings: RtmSettings) -> None:
    rtm_settings(redis_url="redis://127.0.0.1:1/0")

    status, vitals = readyz(client)
    samples = scrape(client)

    assert (status, vitals["streams"]) == (503, "unknown: Redis does not say")
    assert samples["rtmanager_dependency_up", "redis"] == 0
    assert [name for name, _label in samples if name.startswith("rtmanager_stream")] == []
    assert samples["rtmanager_outbox_unpublished", ""] == 0


def test_a_key_of_another_kind_under_a_stream_leaves_the_service_ready(
    client: Client, redis_server: RedisServer
) -> None:
    with redis_server.client(0) as outside:
        outside.set("runtime:start_jobs", "no stream")

    status, vitals = readyz(client)

    assert (status, vitals["streams"]) == (200, "unknown: Redis does not say")


def test_jobs_that_nobody_reads_are_counted_by_stream(client: Client, redis_server: RedisServer) -> None:
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
    assert [name for name, _label in samples if "canary" in name or "loop" in name or "relist" in name] == []
    assert {label for name, label in samples if name == "rtmanager_dependency_up"} == {
        "database", "redis", "docker", "network",
    }  # fmt: skip


def test_pulses_are_told_as_ages(client: Client) -> None:
    beat_all()
    pulses.beat(PulseName.CANARY, round_trip_seconds=0.25)
    Pulse.objects.filter(name="relay").update(beat_at=Now() - timedelta(minutes=5))

    samples = scrape(client)

    assert samples["rtmanager_canary_round_trip_seconds", ""] == 0.25
    assert samples["rtmanager_canary_age_seconds", ""] < 30
    assert 299 < samples["rtmanager_loop_age_seconds", "relay"] < 330
    assert samples["rtmanager_loop_age_seconds", "bridge"] < 30


def test_the_figures_are_open_to_everybody(client: Client, rtm_settings: RtmSettings) -> None:
    rtm_settings(api_auth="token")

    assert client.get("/metrics").status_code == 200

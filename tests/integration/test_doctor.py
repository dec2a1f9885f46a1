"""The doctor on real servers, with an engine in memory."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from operations.models import Operation
from rtmanager.doctor.gathering import gather
from runtimes.containers.fake import FakeEngine
from tests.conftest import RtmSettings
from tests.integration.rest_rigs import start

pytestmark = pytest.mark.usefixtures("trusted_network")


def examined(client: Client) -> dict[str, Any]:
    answer = client.get("/api/v1/internal/doctor")
    assert answer.status_code == 200
    return {check["name"]: check for check in answer.json()["checks"]}


def test_what_the_servers_are_is_found_out(engine: FakeEngine) -> None:
    del engine

    facts = gather()

    # Celery's broker is that of the settings, which no test runs.
    assert set(facts.silences) == {"workers"}
    assert facts.database is not None
    assert facts.database.version >= 140000
    assert facts.database.unapplied_migrations == []
    assert facts.redis is not None
    assert facts.redis.name in {"Redis", "Valkey"}
    assert facts.redis.role == "master"
    assert sorted(facts.redis.streams_without_group) == ["runtime:start_jobs", "runtime:stop_jobs"]
    assert facts.workers is None
    assert sorted(facts.clock_skew) == ["docker", "postgresql", "redis"]


def test_it_is_told_over_http_with_advice(client: Client, engine: FakeEngine) -> None:
    engine.networks.clear()

    checks = examined(client)

    assert checks["postgresql"]["status"] == checks["migrations"]["status"] == "ok"
    assert checks["game network"] == {
        "name": "game network",
        "status": "failed",
        "found": "galaxy-net does not exist",
        "advice": "Run: docker network create --internal galaxy-net",
    }


def test_a_server_that_is_away_is_told_and_the_others_too(
    client: Client, engine: FakeEngine, rtm_settings: RtmSettings
) -> None:
    engine.go_away()
    rtm_settings(redis_url="redis://127.0.0.1:1/0")

    checks = examined(client)

    assert (checks["docker"]["status"], checks["redis"]["status"]) == ("failed", "failed")
    assert checks["postgresql"]["status"] == "ok"


def test_containers_of_another_database_under_our_stack_are_noticed(client: Client, engine: FakeEngine) -> None:
    del engine
    start(client)
    ours = examined(client)["stack"]

    Operation.objects.all().delete()

    assert ours["status"] == "ok"
    assert examined(client)["stack"]["status"] == "warning"


def test_the_command_prints_the_verdicts_and_ends_with_1_when_one_failed(engine: FakeEngine) -> None:
    engine.networks.clear()
    text, data = StringIO(), StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("doctor", "--problems", stdout=text)
    with pytest.raises(SystemExit):
        call_command("doctor", "--json", stdout=data)

    assert ended.value.code == 1
    assert "docker network create --internal galaxy-net" in text.getvalue()
    assert "\x1b" not in text.getvalue()
    assert "game network" in {check["name"] for check in json.loads(data.getvalue())["checks"]}

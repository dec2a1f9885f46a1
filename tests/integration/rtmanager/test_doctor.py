"""The doctor on real servers and a fake Docker."""

import json
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import Client

from operations.models import Operation
from operations.monitoring import heartbeats
from rtmanager.doctor.collect import gather
from runtimes.containers.fake.adapter import FakeDocker
from tasks.streams.redis.jobs import RedisJobStreams
from tests.conftest import RtmSettings
from tests.integration.rest_harness import start

pytestmark = pytest.mark.usefixtures("trusted_network")


def checks_over_http(client: Client) -> dict[str, Any]:
    response = client.get("/api/v1/internal/doctor")
    assert response.status_code == 200
    return {check["name"]: check for check in response.json()["checks"]}


def test_facts_are_collected_from_all_servers(engine: FakeDocker) -> None:
    del engine

    facts = gather()

    # No test runs the Celery broker of the settings.
    assert set(facts.unreachable) == {"broker"}
    assert facts.database is not None
    assert facts.database.version >= 140000
    assert facts.database.unapplied_migrations == []
    assert facts.redis is not None
    assert facts.redis.name in {"Redis", "Valkey"}
    assert facts.redis.role == "master"
    assert sorted(facts.redis.streams_without_group) == ["runtime:start_jobs", "runtime:stop_jobs"]
    assert facts.processes == []
    assert facts.database.newer_migrations == []
    assert facts.redis.owners == {}
    assert sorted(facts.clock_skew) == ["docker", "postgresql", "redis"]


def test_results_over_http_contain_advice(client: Client, engine: FakeDocker) -> None:
    engine.networks.clear()

    checks = checks_over_http(client)

    assert checks["postgresql"]["status"] == checks["migrations"]["status"] == "ok"
    assert checks["game network"] == {
        "name": "game network",
        "status": "failed",
        "found": "galaxy-net does not exist",
        "advice": "Run: docker network create --internal galaxy-net",
    }


def test_an_unreachable_server_does_not_hide_the_others(
    client: Client, engine: FakeDocker, rtm_settings: RtmSettings
) -> None:
    engine.disconnect()
    rtm_settings(redis_url="redis://127.0.0.1:1/0")

    checks = checks_over_http(client)

    assert (checks["docker"]["status"], checks["redis"]["status"]) == ("failed", "failed")
    assert checks["postgresql"]["status"] == "ok"


def test_containers_of_another_database_in_our_stack_are_reported(client: Client, engine: FakeDocker) -> None:
    del engine
    start(client)
    ours = checks_over_http(client)["stack"]

    Operation.objects.all().delete()

    assert ours["status"] == "ok"
    assert checks_over_http(client)["stack"]["status"] == "warning"


def test_what_two_installations_share_by_mistake_is_reported(
    client: Client, engine: FakeDocker, rtm_settings: RtmSettings
) -> None:
    del engine
    heartbeats.record_heartbeat("worker:host:7")
    streams = RedisJobStreams(
        settings.RTMANAGER.streams_url, names=["runtime:start_jobs"], identify=lambda: "database b"
    )
    streams.ensure_group()

    rtm_settings(stack="second")
    checks = checks_over_http(client)

    assert checks["job streams"]["status"] == "failed"
    assert "runtime:start_jobs belongs to database b; this is database " in checks["job streams"]["found"]
    assert checks["stack of the processes"]["status"] == "failed"
    assert "RTMANAGER_STACK is second here, but worker (" in checks["stack of the processes"]["found"]


def test_the_command_prints_the_checks_and_exits_with_1_if_one_failed(engine: FakeDocker) -> None:
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

"""The daemon's JSON in our own types: the odd forms that no test daemon shows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runtimes.container_spec import LOG_DRIVERS, ContainerSpec, Limits
from runtimes.containers.base import ContainerEvent, ContainerState, EventAction
from runtimes.containers.docker.payloads import (
    container_from_inspect,
    container_from_list,
    create_request,
    event_from_json,
    parse_docker_time,
)

INSPECTED: dict[str, Any] = {
    "Id": "c" * 64,
    "Name": "/galaxy-game-g1",
    "Image": "sha256:abc",
    "RestartCount": 2,
    "Config": {"Labels": None},
    "State": {
        "Status": "exited",
        "ExitCode": 137,
        "OOMKilled": True,
        "StartedAt": "2026-01-02T03:04:05.123456789Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
        "Health": {"Status": "unhealthy"},
    },
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2026-01-02T03:04:05.1Z", datetime(2026, 1, 2, 3, 4, 5, 100000, tzinfo=UTC)),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T05:04:05.000000001+02:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_the_times_of_the_daemon_are_read(text: str, expected: datetime | None) -> None:
    moment = parse_docker_time(text)

    assert moment == expected
    assert moment is None or moment.utcoffset() == timedelta()


def test_an_inspected_container_is_read_whole() -> None:
    container = container_from_inspect(INSPECTED)

    assert (container.name, container.state, container.labels) == ("galaxy-game-g1", ContainerState.EXITED, {})
    assert (container.exit_code, container.oom_killed, container.restart_count) == (137, True, 2)
    assert container.health == "unhealthy"
    assert container.finished_at is None


def test_a_container_without_a_health_check_has_no_health() -> None:
    for health in ({"Status": "none"}, None):
        raw = {**INSPECTED, "State": {**INSPECTED["State"], "Health": health}}

        assert container_from_inspect(raw).health == ""


def test_the_name_in_a_list_is_not_that_of_a_link() -> None:
    raw = {"Id": "c" * 64, "Names": ["/other/alias", "/galaxy-game-g1"], "State": "running", "Labels": None}

    assert container_from_list(raw).name == "galaxy-game-g1"


SPEC = ContainerSpec(
    image="game:1",
    name="n",
    image_ref="i",
    labels={},
    environment={},
    network="net",
    state_path="/s",
    state_mount_path="/m",
    limits=Limits(cpu_quota=0.29, memory_bytes=1, pids_limit=1),
    read_only=False,
    user="1000:1000",
    stop_grace_seconds=1,
)


@pytest.mark.parametrize("driver", LOG_DRIVERS)
def test_a_log_is_bounded_with_every_driver(driver: str) -> None:
    log = create_request(replace(SPEC, log_driver=driver))["HostConfig"]["LogConfig"]

    files = int(log["Config"].get("max-file", "1"))
    assert (log["Type"], files * int(log["Config"]["max-size"].removesuffix("m"))) == (driver, 30)


def test_only_a_read_only_container_gets_a_scratch_tmp_and_only_a_named_user_is_sent() -> None:
    body = create_request(SPEC)

    assert body["User"] == "1000:1000"
    assert body["HostConfig"]["Tmpfs"] == {}
    assert body["HostConfig"]["ReadonlyRootfs"] is False
    assert body["HostConfig"]["NanoCpus"] == 290_000_000


@pytest.mark.parametrize(
    ("text", "health"),
    [
        ("Up 2 hours", ""),
        ("Up 2 hours (healthy)", "healthy"),
        ("Up 2 minutes (unhealthy)", "unhealthy"),
        ("Up Less than a second (health: starting)", "starting"),
        ("Up 2 minutes (Paused)", ""),
        ("Exited (137) 3 seconds ago", ""),
        (None, ""),
    ],
)
def test_the_health_in_a_list_is_read_from_its_text(text: str | None, health: str) -> None:
    listed = container_from_list({"Id": "c", "State": "running", "Status": text})

    assert listed.health == health


def test_an_address_of_version_six_counts_where_there_is_no_other() -> None:
    networks = {"a": {"IPAddress": "", "GlobalIPv6Address": "fd00::2"}, "b": {"IPAddress": "10.0.0.2"}, "c": None}

    listed = container_from_list({"Id": "c", "State": "running", "NetworkSettings": {"Networks": networks}})

    assert listed.addresses == {"a": "fd00::2", "b": "10.0.0.2"}


@pytest.mark.parametrize("raw", [{"Type": "network", "Action": "connect"}, {"Type": "container", "Action": "exec_die"}])
def test_events_of_other_kinds_are_no_events(raw: dict[str, Any]) -> None:
    assert event_from_json(raw) is None


def test_an_event_of_a_container_without_a_game_has_none() -> None:
    raw = {"Type": "container", "Action": "oom", "Actor": {"ID": "c", "Attributes": None}, "timeNano": 17}

    assert event_from_json(raw) == ContainerEvent("c", "", EventAction.OOM, 17)

"""The log driver of a new container: the configured one, or the first of ours that the daemon has."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from runtimes.container_spec import build_spec
from runtimes.containers.docker.adapter import DockerAdapter
from tests.gateway_policy import POLICY
from tests.servers.scripted_daemon import ScriptedDaemon, scripted_daemon

SPEC = build_spec(
    POLICY, game_id="g1", image_ref="game:1", limits=POLICY.default_limits, operation_id=1, fence=1, started_at_ms=1
)
DOCKER = {"Plugins": {"Log": ["awslogs", "json-file", "local"]}}
PODMAN = {"Plugins": {"Log": ["k8s-file", "none", "journald"]}}


@pytest.fixture
def daemon() -> Iterator[ScriptedDaemon]:
    with scripted_daemon() as daemon:
        daemon.script["POST create"] = (201, {"Id": "c" * 64})
        yield daemon


@pytest.fixture
def containers(daemon: ScriptedDaemon) -> Iterator[DockerAdapter]:
    with closing(DockerAdapter(daemon.address, call_seconds=20)) as containers:
        yield containers


def log_driver_in(daemon: ScriptedDaemon) -> str:
    request = json.loads(daemon.bodies["POST create"])
    return str(request["HostConfig"]["LogConfig"]["Type"])


@pytest.mark.parametrize(
    ("answer", "driver"),
    [
        ((200, DOCKER), "local"),
        ((200, PODMAN), "k8s-file"),
        ((200, {"Plugins": {"Log": ["json-file"]}}), "json-file"),
        ((200, {"Plugins": {"Log": ["syslog"]}}), "local"),
        ((200, {"Plugins": None}), "local"),
        ((200, {}), "local"),
        ((403, {"message": "authorization denied by plugin opa: no"}), "local"),
    ],
)
def test_the_first_driver_that_the_daemon_has_is_used(
    daemon: ScriptedDaemon, containers: DockerAdapter, answer: tuple[int, Any], driver: str
) -> None:
    daemon.script["GET info"] = answer

    containers.create(SPEC)

    assert log_driver_in(daemon) == driver


def test_a_configured_driver_is_used_without_a_question(daemon: ScriptedDaemon, containers: DockerAdapter) -> None:
    containers.create(replace(SPEC, log_driver="json-file"))

    assert log_driver_in(daemon) == "json-file"
    assert "GET info" not in daemon.asked


def test_the_daemon_is_asked_once_for_many_containers_and_for_its_capacity(
    daemon: ScriptedDaemon, containers: DockerAdapter
) -> None:
    daemon.script["GET info"] = (200, {**DOCKER, "NCPU": 2, "MemTotal": 1})

    containers.create(SPEC)
    containers.host_capacity()
    containers.create(SPEC)

    assert daemon.asked.count("GET info") == 1

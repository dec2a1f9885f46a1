import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from rtmanager.config import PREFIX, Config

CLONE = Path(__file__).resolve().parents[3]
SERVICE = ("web", "bridge", "relay", "watcher", "worker", "clock")
SOCKET = "/var/run/docker.sock:/var/run/docker.sock"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CLONE / "compose.yaml").read_text())["services"]
    return loaded


def test_only_those_who_need_the_docker_socket_have_it(services: dict[str, Any]) -> None:
    holders = {name for name, service in services.items() if SOCKET in service.get("volumes", [])}

    assert holders == {"web", "watcher", "worker"}


def test_every_variable_is_a_setting_of_the_service(services: dict[str, Any]) -> None:
    given = {name for service in SERVICE for name in services[service]["environment"] if name.startswith(PREFIX)}

    assert {name.removeprefix(PREFIX).lower() for name in given} <= set(Config.model_fields)


def test_nothing_is_killed_while_it_ends_in_time(services: dict[str, Any]) -> None:
    waits = [int(services[name]["stop_grace_period"].removesuffix("s")) for name in SERVICE]

    assert min(waits) > Config().shutdown_timeout.total_seconds()


def test_the_commands_exist(services: dict[str, Any]) -> None:
    managed = [services[name]["command"] for name in ("bridge", "relay", "watcher", "clock")]

    assert {command[2] for command in managed} <= set(get_commands())


def test_the_worker_serves_both_queues(services: dict[str, Any]) -> None:
    words = shlex.split(services["worker"]["command"])

    assert words[words.index("-Q") + 1] == "lifecycle,periodic"


def test_the_service_is_published_on_loopback_only(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]

    assert published == ["127.0.0.1:8096:8096"]

import re
import shlex
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from rtmanager.config import PREFIX, Config
from tasks.broker import queues
from tests.paths import ROOT

CLONE = ROOT
SERVICE = ("docker-gateway", "web", "bridge", "relay", "watcher", "worker", "scheduler")
SOCKET = "${DOCKER_SOCKET:-/var/run/docker.sock}:/var/run/docker.sock"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CLONE / "compose.yaml").read_text())["services"]
    return loaded


def test_only_services_that_use_docker_mount_its_socket(services: dict[str, Any]) -> None:
    holders = {name for name, service in services.items() if SOCKET in service.get("volumes", [])}

    assert holders == {"docker-gateway"}


def test_the_processes_that_use_docker_have_the_socket_of_their_role(services: dict[str, Any]) -> None:
    hosts = {name: services[name]["environment"].get("RTMANAGER_DOCKER_HOST", "") for name in SERVICE}
    gateway = services["docker-gateway"]
    directory = gateway["volumes"][1].partition(":")[2]

    assert {name: host for name, host in hosts.items() if host} == {
        "docker-gateway": "unix:///var/run/docker.sock",
        "watcher": f"unix://{directory}/watch.sock",
        "worker": f"unix://{directory}/operate.sock",
    }
    watch_group = gateway["environment"]["RTMANAGER_DOCKER_GATEWAY_WATCH_GROUP"]
    assert services["watcher"]["group_add"] == [watch_group]
    assert services["worker"]["group_add"] == [gateway["environment"]["RTMANAGER_DOCKER_GATEWAY_OPERATE_GROUP"]]


def test_the_gateway_shares_its_user_with_no_other_service(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if service.get("user") == "10002:10002"} == {"docker-gateway"}


def test_every_variable_is_a_setting_of_the_service(services: dict[str, Any]) -> None:
    given = {name for service in SERVICE for name in services[service]["environment"] if name.startswith(PREFIX)}

    assert {name.removeprefix(PREFIX).lower() for name in given} <= set(Config.model_fields)


def test_the_grace_period_is_longer_than_the_shutdown_timeout(services: dict[str, Any]) -> None:
    waits = [int(services[name]["stop_grace_period"].removesuffix("s")) for name in SERVICE]

    assert min(waits) > Config().shutdown_timeout.total_seconds()


def test_every_management_command_exists(services: dict[str, Any]) -> None:
    managed = [services[name]["command"] for name in SERVICE if name != "worker"]

    assert {command[0] for command in managed} == {"rtmanager"}
    assert {command[1] for command in managed} <= set(get_commands())


def test_the_worker_serves_both_queues(services: dict[str, Any]) -> None:
    arguments = shlex.split(services["worker"]["command"])

    assert arguments[arguments.index("-Q") + 1] == ",".join(queues())


def test_the_service_is_published_on_loopback_only(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]

    assert published == ["${RTM_PUBLISH:-127.0.0.1:8096}:8096"]


def test_only_the_preparation_runs_as_root(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if service.get("user") == "0:0"} == {"prepare"}
    assert {name for name, service in services.items() if "cap_add" in service} == {"prepare"}
    assert all(services[name]["cap_drop"] == ["ALL"] for name in (*SERVICE, "prepare"))


def test_only_the_watcher_is_in_the_network_of_the_games(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "games" in service.get("networks", [])} == {"watcher"}


def test_the_api_needs_a_token_by_default(services: dict[str, Any]) -> None:
    assert services["web"]["environment"]["RTMANAGER_API_AUTH"] == "${RTMANAGER_API_AUTH:-token}"


def test_the_password_of_the_first_admin_reaches_only_the_preparation(services: dict[str, Any]) -> None:
    password = "RTMANAGER_ADMIN_BOOTSTRAP_PASSWORD"

    assert {name for name in SERVICE if services[name]["environment"][password]} == set()
    assert services["prepare"]["environment"][password]


def test_the_example_names_every_variable_of_the_file() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", (CLONE / "compose.yaml").read_text()))
    named = set(re.findall(r"^([A-Z_]+)=", (CLONE / ".env.example").read_text(), re.MULTILINE))

    assert used - named == {"RTMANAGER_WORKER_CONCURRENCY"}


def test_every_setting_of_the_example_exists() -> None:
    named = re.findall(rf"^{PREFIX}([A-Z_]+)=", (CLONE / ".env.example").read_text(), re.MULTILINE)

    assert {name.lower() for name in named} <= set(Config.model_fields)

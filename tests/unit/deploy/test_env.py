import os
from pathlib import Path

import pytest

from deploy.local import env
from deploy.local.env import Servers
from deploy.local.workspace import Workspace
from rtmanager.config import Config

PLACE = Workspace(kind="demo", home=Path("/clone/.run/demo"), identity="0123abcd")
EMBEDDED = Servers(
    docker_host="unix:///tmp/docker.sock",
    database_url="postgresql://rtmanager:p@/rtmanager?host=/tmp/pg",
    redis_url="unix:///tmp/valkey.sock?db=0",
    http_addr="127.0.0.1:8096",
)
EXTERNAL = Servers(docker_host="unix:///tmp/docker.sock", database_url=None, redis_url=None, http_addr=None)


def complete(given: dict[str, str], servers: Servers = EMBEDDED) -> dict[str, str]:
    return env.complete(given, servers, workspace=PLACE, secret=lambda name: f"secret-{name}")


def test_an_empty_environment_gets_every_setting_of_a_local_stack() -> None:
    result = complete({})

    assert result["RTMANAGER_DATABASE_URL"] == EMBEDDED.database_url
    assert result["RTMANAGER_REDIS_URL"] == EMBEDDED.redis_url
    assert result["RTMANAGER_STACK"] == "demo-0123abcd"
    assert result["RTMANAGER_API_AUTH"] == "network"
    assert result["RTMANAGER_ADMIN_BOOTSTRAP_PASSWORD"] == "secret-admin"


def test_given_variables_stay() -> None:
    given = {"RTMANAGER_STACK": "mine", "RTMANAGER_LOG_LEVEL": "debug", "HOME": "/home/me"}

    result = complete(given)

    assert {name: result[name] for name in given} == given


def test_an_empty_variable_counts_as_not_given() -> None:
    assert complete({"RTMANAGER_STACK": ""})["RTMANAGER_STACK"] == "demo-0123abcd"


def test_the_alias_of_a_server_address_is_not_overridden() -> None:
    given = {"RTMANAGER_POSTGRES_PRIMARY_DSN": "postgresql://db/x", "RTMANAGER_REDIS_MASTER_ADDR": "cache:6379"}

    result = complete(given, EXTERNAL)

    assert "RTMANAGER_DATABASE_URL" not in result
    assert "RTMANAGER_REDIS_URL" not in result


@pytest.mark.parametrize("name", ["RTMANAGER_DATABASE_URL", "RTMANAGER_POSTGRES_PRIMARY_DSN"])
def test_each_name_of_the_database_setting_disables_the_embedded_server(name: str) -> None:
    assert env.names_a_database({name: "postgresql://db/x"})


@pytest.mark.parametrize("name", ["RTMANAGER_REDIS_URL", "RTMANAGER_REDIS_MASTER_ADDR"])
def test_each_name_of_the_redis_setting_disables_the_embedded_server(name: str) -> None:
    assert env.names_a_redis({name: "cache:6379"})


def test_no_password_is_generated_for_a_configured_admin() -> None:
    assert "RTMANAGER_ADMIN_BOOTSTRAP_PASSWORD" not in complete({"RTMANAGER_ADMIN_BOOTSTRAP_USER": "ada"})


def test_games_run_as_the_user_if_it_is_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 100)

    result = complete({})

    assert result["RTMANAGER_CONTAINER_USER"] == "1000:100"
    assert (result["RTMANAGER_GAME_STATE_OWNER_UID"], result["RTMANAGER_GAME_STATE_OWNER_GID"]) == ("1000", "100")


def test_games_of_root_keep_the_default_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert "RTMANAGER_CONTAINER_USER" not in complete({})


def test_the_service_accepts_the_addresses_of_the_embedded_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in complete({}).items():
        monkeypatch.setenv(name, value)

    config = Config()

    assert config.streams_url == "unix:///tmp/valkey.sock?db=0"
    assert config.broker_url == "redis+socket:///tmp/valkey.sock?virtual_host=1"

import os
from pathlib import Path

import pytest

from rtmanager.config import Config
from rtmanager.local import environment
from rtmanager.local.environment import Servers
from rtmanager.local.places import Place

PLACE = Place(kind="demo", home=Path("/clone/.run/demo"), identity="0123abcd")
EMBEDDED = Servers(
    docker_host="unix:///tmp/docker.sock",
    database_url="postgresql://rtmanager:p@/rtmanager?host=/tmp/pg",
    redis_url="unix:///tmp/valkey.sock?db=0",
    http_addr="127.0.0.1:8096",
)
OUTSIDE = Servers(docker_host="unix:///tmp/docker.sock", database_url=None, redis_url=None, http_addr=None)


def complete(given: dict[str, str], servers: Servers = EMBEDDED) -> dict[str, str]:
    return environment.complete(given, servers, place=PLACE, secret=lambda name: f"secret-{name}")


def test_a_bare_environment_gets_everything_a_local_stack_needs() -> None:
    result = complete({})

    assert result["RTMANAGER_DATABASE_URL"] == EMBEDDED.database_url
    assert result["RTMANAGER_REDIS_URL"] == EMBEDDED.redis_url
    assert result["RTMANAGER_STACK"] == "demo-0123abcd"
    assert result["RTMANAGER_API_AUTH"] == "network"
    assert result["RTMANAGER_ADMIN_BOOTSTRAP_PASSWORD"] == "secret-admin"


def test_what_was_given_stays() -> None:
    given = {"RTMANAGER_STACK": "mine", "RTMANAGER_LOG_LEVEL": "debug", "HOME": "/home/me"}

    result = complete(given)

    assert {name: result[name] for name in given} == given


def test_an_empty_variable_counts_as_not_given() -> None:
    assert complete({"RTMANAGER_STACK": ""})["RTMANAGER_STACK"] == "demo-0123abcd"


def test_an_alias_of_an_outside_server_is_not_overruled_by_the_other_name() -> None:
    given = {"RTMANAGER_POSTGRES_PRIMARY_DSN": "postgresql://db/x", "RTMANAGER_REDIS_MASTER_ADDR": "cache:6379"}

    result = complete(given, OUTSIDE)

    assert "RTMANAGER_DATABASE_URL" not in result
    assert "RTMANAGER_REDIS_URL" not in result


@pytest.mark.parametrize("name", ["RTMANAGER_DATABASE_URL", "RTMANAGER_POSTGRES_PRIMARY_DSN"])
def test_either_name_of_the_database_keeps_the_embedded_one_away(name: str) -> None:
    assert environment.names_a_database({name: "postgresql://db/x"})


@pytest.mark.parametrize("name", ["RTMANAGER_REDIS_URL", "RTMANAGER_REDIS_MASTER_ADDR"])
def test_either_name_of_redis_keeps_the_embedded_one_away(name: str) -> None:
    assert environment.names_a_redis({name: "cache:6379"})


def test_no_password_is_made_for_an_admin_who_was_named() -> None:
    assert "RTMANAGER_ADMIN_BOOTSTRAP_PASSWORD" not in complete({"RTMANAGER_ADMIN_BOOTSTRAP_USER": "ada"})


def test_a_plain_users_games_run_as_that_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 100)

    result = complete({})

    assert result["RTMANAGER_CONTAINER_USER"] == "1000:100"
    assert (result["RTMANAGER_GAME_STATE_OWNER_UID"], result["RTMANAGER_GAME_STATE_OWNER_GID"]) == ("1000", "100")


def test_roots_games_keep_the_defaults_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert "RTMANAGER_CONTAINER_USER" not in complete({})


def test_the_service_accepts_the_addresses_of_the_embedded_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in complete({}).items():
        monkeypatch.setenv(name, value)

    config = Config()

    assert config.streams_url == "unix:///tmp/valkey.sock?db=0"
    assert config.broker_url == "redis+socket:///tmp/valkey.sock?virtual_host=1"

"""One address in, two forms out: both must reach the same server in the same way."""

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmanager.database_urls import connection_parameters, django_database


def connect_arguments(database_url: str) -> dict[str, Any]:
    """What psycopg2 is asked for when Celery's result backend connects."""
    return {name: value for name, value in connection_parameters(database_url)[0].items() if value}


def place(database: dict[str, Any]) -> dict[str, Any]:
    return {key: database[key] for key in ("HOST", "PORT", "USER", "PASSWORD", "NAME")}


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_plain_url_is_parsed(scheme: str) -> None:
    url = f"{scheme}://rtm:secret@db.example:5433/games"

    assert place(django_database(url)) == {
        "HOST": "db.example",
        "PORT": "5433",
        "USER": "rtm",
        "PASSWORD": "secret",
        "NAME": "games",
    }
    assert connect_arguments(url) == {
        "host": "db.example",
        "port": "5433",
        "user": "rtm",
        "password": "secret",
        "dbname": "games",
    }


def test_only_the_database_name_has_a_default() -> None:
    url = "postgresql://db.example"

    assert place(django_database(url)) == {
        "HOST": "db.example", "PORT": "", "USER": "", "PASSWORD": "", "NAME": "rtmanager",
    }  # fmt: skip
    assert connect_arguments(url) == {"host": "db.example", "dbname": "rtmanager"}


def test_an_ipv6_address_loses_its_brackets_only() -> None:
    url = "postgresql://rtm@[::1]:5433/games"

    assert django_database(url)["HOST"] == "::1"
    assert connect_arguments(url)["host"] == "::1"


@pytest.mark.parametrize("url", ["postgresql://rtm@/games?host=/run/pg", "postgresql://rtm@%2Frun%2Fpg/games"])
def test_a_unix_socket_is_reached_by_its_directory(url: str) -> None:
    assert place(django_database(url)) == {
        "HOST": "/run/pg", "PORT": "", "USER": "rtm", "PASSWORD": "", "NAME": "games",
    }  # fmt: skip
    assert connect_arguments(url) == {"host": "/run/pg", "user": "rtm", "dbname": "games"}


def test_a_unix_socket_may_have_a_port() -> None:
    url = "postgresql://rtm@/games?host=/run/pg&port=5433"

    assert django_database(url)["PORT"] == "5433"
    assert connect_arguments(url)["port"] == "5433"


def test_other_libpq_parameters_are_passed_on() -> None:
    url = "postgresql://rtm@db.example/games?sslmode=verify-full&sslrootcert=/etc/ca.pem&application_name=rtm"
    passed_on = {"sslmode": "verify-full", "sslrootcert": "/etc/ca.pem", "application_name": "rtm"}

    assert passed_on.items() <= django_database(url)["OPTIONS"].items()
    assert passed_on.items() <= connect_arguments(url).items()


def test_timeouts_in_the_url_override_ours() -> None:
    assert django_database("postgresql://db.example/games?connect_timeout=9")["OPTIONS"]["connect_timeout"] == "9"


def test_every_session_has_timeouts() -> None:
    database = django_database("postgresql://db.example/games")

    assert database["SESSION_SETTINGS"] == {
        "lock_timeout": "5000",
        "statement_timeout": "15000",
        "idle_in_transaction_session_timeout": "15000",
    }
    assert database["OPTIONS"]["connect_timeout"] == 3


def test_nothing_is_sent_that_a_pooler_refuses() -> None:
    assert "options" not in django_database("postgresql://db.example/games?search_path=rtm")["OPTIONS"]


def test_options_in_the_url_override_our_session_settings() -> None:
    database = django_database("postgresql://db.example/games?options=-c%20statement_timeout%3D9s")

    assert "statement_timeout" not in database["SESSION_SETTINGS"]
    assert database["SESSION_SETTINGS"]["lock_timeout"] == "5000"
    assert database["OPTIONS"]["options"] == "-c statement_timeout=9s"


def test_a_search_path_becomes_a_setting_of_the_session() -> None:
    url = "postgresql://rtm@db.example/games?search_path=rtm,public&sslmode=require"

    database = django_database(url)
    assert database["SESSION_SETTINGS"]["search_path"] == "rtm,public"
    assert "search_path" not in database["OPTIONS"]
    assert database["OPTIONS"]["sslmode"] == "require"
    params, session_settings = connection_parameters(url)
    assert session_settings == {"search_path": "rtm,public"}
    assert params["sslmode"] == "require"


def test_connections_are_kept_and_checked() -> None:
    database = django_database("postgresql://db.example/games")

    assert database["CONN_HEALTH_CHECKS"] is True
    assert database["CONN_MAX_AGE"] > 0


@pytest.mark.parametrize("secret", ["p@ss", "p/w", "p:w", "p w", "p%w", "p+w", "p?w", "p#w", "p&w=1", "grün", "'\"\\"])
def test_passwords_with_special_characters_are_kept(secret: str) -> None:
    url = f"postgresql://rtm:{quote(secret, safe='')}@db.example/games"

    assert django_database(url)["PASSWORD"] == secret
    assert connect_arguments(url)["password"] == secret


visible = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(user=visible, password=visible, name=visible)
def test_user_password_and_name_come_through_in_both_forms(user: str, password: str, name: str) -> None:
    parts = [quote(part, safe="") for part in (user, password, name)]
    url = "postgresql://{}:{}@db.example:5432/{}".format(*parts)

    database = django_database(url)
    arguments = connect_arguments(url)

    assert (database["USER"], database["PASSWORD"], database["NAME"]) == (user, password, name)
    assert (arguments["user"], arguments["password"], arguments["dbname"]) == (user, password, name)


@pytest.mark.parametrize("form", [django_database, connection_parameters])
@pytest.mark.parametrize("query", ["nonsense=1", "sslmode=require&nonsense=1"])
def test_an_unknown_libpq_parameter_is_rejected_naming_the_variable(form: Any, query: str) -> None:
    with pytest.raises(ValueError, match=r"RTMANAGER_DATABASE_URL: .*nonsense"):
        form(f"postgresql://db.example/games?{query}")


def test_an_address_without_host_and_user_reaches_the_socket_of_its_query() -> None:
    url = "postgresql:///games?host=/run/pg"

    assert place(django_database(url))["HOST"] == "/run/pg"
    assert connect_arguments(url) == {"host": "/run/pg", "dbname": "games"}


@pytest.mark.parametrize(("written", "meant"), [("my%20app", "my app"), ("a+b", "a+b"), ("a%2Bb", "a+b")])
def test_spaces_and_plus_signs_of_the_query_come_through(written: str, meant: str) -> None:
    url = f"postgresql://db.example/games?application_name={written}%20"

    assert django_database(url)["OPTIONS"]["application_name"] == f"{meant} "
    assert connect_arguments(url)["application_name"] == f"{meant} "


def test_options_and_a_search_path_go_together() -> None:
    url = "postgresql://db.example/games?options=-cwork_mem%3D8MB&search_path=rtm"

    database = django_database(url)
    params, session_settings = connection_parameters(url)
    assert database["OPTIONS"]["options"] == params["options"] == "-cwork_mem=8MB"
    assert database["SESSION_SETTINGS"]["search_path"] == session_settings["search_path"] == "rtm"


def test_several_hosts_are_tried_in_both_forms() -> None:
    url = "postgresql://rtm@one.example:5432,two.example:5433/games?target_session_attrs=read-write"

    assert place(django_database(url))["HOST"] == "one.example,two.example"
    arguments = connect_arguments(url)
    assert (arguments["host"], arguments["port"]) == ("one.example,two.example", "5432,5433")


def test_an_error_never_shows_the_password() -> None:
    with pytest.raises(ValueError, match="RTMANAGER_DATABASE_URL") as refused:
        django_database("postgresql://rtm:hush%zzhush@db.example/games")

    assert "hush" not in str(refused.value)


def test_an_invalid_url_is_rejected_naming_the_variable() -> None:
    with pytest.raises(ValueError, match="RTMANAGER_DATABASE_URL"):
        django_database("postgresql://rtm@[::1/games")

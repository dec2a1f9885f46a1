"""One address in, two forms out: both must reach the same server in the same way."""

from typing import Any, cast
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine import make_url

from rtmanager.databases import django_database, result_backend_url

# SQLAlchemy's dialects are untyped.
DIALECT: Any = cast("Any", PGDialect_psycopg2)()


def connect_arguments(database_url: str) -> dict[str, Any]:
    """What psycopg2 is asked for when Celery's result backend connects."""
    backend = result_backend_url(database_url)
    assert backend.startswith("db+postgresql+psycopg2://")
    _, arguments = DIALECT.create_connect_args(make_url(backend.removeprefix("db+")))
    return dict(arguments)


def place(database: dict[str, Any]) -> dict[str, Any]:
    return {key: database[key] for key in ("HOST", "PORT", "USER", "PASSWORD", "NAME")}


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_plain_address_is_taken_apart(scheme: str) -> None:
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
        "port": 5433,
        "user": "rtm",
        "password": "secret",
        "dbname": "games",
    }


def test_what_an_address_leaves_open_stays_open_but_for_the_name_of_the_database() -> None:
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
    assert str(connect_arguments(url)["port"]) == "5433"


def test_what_else_libpq_understands_is_passed_on() -> None:
    url = "postgresql://rtm@db.example/games?sslmode=verify-full&sslrootcert=/etc/ca.pem&application_name=rtm"
    passed_on = {"sslmode": "verify-full", "sslrootcert": "/etc/ca.pem", "application_name": "rtm"}

    assert passed_on.items() <= django_database(url)["OPTIONS"].items()
    assert passed_on.items() <= connect_arguments(url).items()


def test_time_outs_given_in_the_address_win_over_ours() -> None:
    assert django_database("postgresql://db.example/games?connect_timeout=9")["OPTIONS"]["connect_timeout"] == "9"


def test_every_session_has_bounds_in_time() -> None:
    options = django_database("postgresql://db.example/games")["OPTIONS"]

    for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
        assert f"-c {name}=" in options["options"]
    assert options["connect_timeout"] == 3


def test_a_search_path_becomes_an_option_of_the_session() -> None:
    url = "postgresql://rtm@db.example/games?search_path=rtm,public&sslmode=require"

    options = django_database(url)["OPTIONS"]
    assert "search_path" not in options
    assert options["options"].endswith("-c search_path=rtm,public")
    assert options["sslmode"] == "require"
    assert connect_arguments(url)["options"] == "-c search_path=rtm,public"
    assert connect_arguments(url)["sslmode"] == "require"


def test_connections_are_kept_and_checked() -> None:
    database = django_database("postgresql://db.example/games")

    assert database["CONN_HEALTH_CHECKS"] is True
    assert database["CONN_MAX_AGE"] > 0


@pytest.mark.parametrize("secret", ["p@ss", "p/w", "p:w", "p w", "p%w", "p+w", "p?w", "p#w", "p&w=1", "grün", "'\"\\"])
def test_passwords_come_through_whatever_they_are_made_of(secret: str) -> None:
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


@pytest.mark.parametrize("form", [django_database, result_backend_url])
@pytest.mark.parametrize("query", ["nonsense=1", "sslmode=require&nonsense=1"])
def test_what_libpq_does_not_understand_is_refused_by_the_name_of_the_variable(form: Any, query: str) -> None:
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

    for options in (django_database(url)["OPTIONS"]["options"], connect_arguments(url)["options"]):
        assert "-cwork_mem=8MB" in options
        assert "-c search_path=rtm" in options


def test_several_hosts_are_tried_in_both_forms() -> None:
    url = "postgresql://rtm@one.example:5432,two.example:5433/games?target_session_attrs=read-write"

    assert place(django_database(url))["HOST"] == "one.example,two.example"
    arguments = connect_arguments(url)
    assert (arguments["host"], arguments["port"]) == ("one.example,two.example", "5432,5433")


def test_a_refusal_never_shows_the_password() -> None:
    with pytest.raises(ValueError, match="RTMANAGER_DATABASE_URL") as refused:
        django_database("postgresql://rtm:hush%zzhush@db.example/games")

    assert "hush" not in str(refused.value)


def test_an_address_that_is_none_is_refused_by_the_name_of_the_variable() -> None:
    with pytest.raises(ValueError, match="RTMANAGER_DATABASE_URL"):
        django_database("postgresql://rtm@[::1/games")

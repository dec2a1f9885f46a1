"""Sessions of PostgreSQL that RTM drops, refuses or prepares, on the real server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import cast

import pytest
from celery import Celery
from django.db import OperationalError, connection, transaction
from django.test import Client

from operations.models import Heartbeat
from operations.monitoring.heartbeats import record_heartbeat
from rtmanager.celery import configure_worker
from rtmanager.database_urls import connect, django_database
from rtmanager.db_backend.base import DatabaseWrapper
from rtmanager.doctor.collect import gather
from runtimes.containers.fake.adapter import FakeDocker
from tests.conftest import RtmSettings
from tests.paths import ROOT
from tests.servers.databases import PostgresServer

_RUNTIME_ROLE = """
    CREATE ROLE rtm_runtime LOGIN;
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    GRANT USAGE ON SCHEMA public TO rtm_runtime;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO rtm_runtime;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO rtm_runtime;
"""


def make_read_only(*, on: bool) -> None:
    """Do what a failover does to the sessions of the old primary."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('default_transaction_read_only', %s, false)", ["on" if on else "off"])


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of an empty database."""
    name = postgres_server.create_database()
    yield name
    postgres_server.drop_database(name)


def wrapper_for(url: str) -> DatabaseWrapper:
    """A connection of Django's to this database."""
    return DatabaseWrapper({**connection.settings_dict, **django_database(url)})


def migrate(url: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "manage.py", "migrate", "--no-input"],
        cwd=ROOT,
        env={**os.environ, "RTMANAGER_DATABASE_URL": url, "RTMANAGER_SECRET_KEY": "k" * 50},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_session_that_became_read_only_is_dropped_before_its_next_use() -> None:
    record_heartbeat("before")
    make_read_only(on=True)

    connection.close_if_unusable_or_obsolete()

    record_heartbeat("after")
    assert set(Heartbeat.objects.values_list("name", flat=True)) == {"before", "after"}


def test_a_write_in_a_read_only_session_is_an_outage_and_ends_the_session() -> None:
    make_read_only(on=True)

    with pytest.raises(OperationalError, match="PostgreSQL is read-only here"):
        record_heartbeat("refused")
    connection.close_if_unusable_or_obsolete()

    assert connection.connection is None
    record_heartbeat("after")
    assert Heartbeat.objects.get().name == "after"


def test_a_read_only_session_that_was_rolled_back_is_dropped_too() -> None:
    make_read_only(on=True)

    with pytest.raises(OperationalError, match="PostgreSQL is read-only here"), transaction.atomic():
        record_heartbeat("refused")
    connection.close_if_unusable_or_obsolete()

    record_heartbeat("after")
    assert Heartbeat.objects.get().name == "after"


@pytest.mark.usefixtures("trusted_network")
def test_readiness_names_a_read_only_database(
    client: Client, engine: FakeDocker, postgres_server: PostgresServer
) -> None:
    del engine
    name = connection.settings_dict["NAME"]
    postgres_server.execute(name, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    try:
        response = client.get("/readyz")
        facts = gather()
    finally:
        with closing(connect(postgres_server.url(name))) as session, session.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ WRITE")
            cursor.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
            session.commit()

    assert response.status_code == 503
    assert "read-only" in response.content.decode()
    assert facts.database is not None, facts.unreachable
    assert facts.database.is_read_only


def test_a_database_of_another_encoding_is_refused_with_the_fix(postgres_server: PostgresServer) -> None:
    postgres_server.execute(
        "postgres", "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    url = postgres_server.url("ascii")
    try:
        with pytest.raises(OperationalError, match=r"RTMANAGER_DATABASE_URL: .* SQL_ASCII, .* --encoding UTF8"):
            wrapper_for(url).ensure_connection()
        process = migrate(url)
        output, _ = process.communicate(timeout=60)
    finally:
        postgres_server.drop_database("ascii")

    assert process.returncode != 0
    assert "SQL_ASCII" in output


def test_three_migrations_at_once_all_succeed(postgres_server: PostgresServer, database: str) -> None:
    processes = [migrate(postgres_server.url(database)) for _ in range(3)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert sum("Applying operations.0001_initial" in output for output in outputs) == 1


def test_a_role_that_may_not_create_tables_can_run_a_migrated_installation(
    postgres_server: PostgresServer, database: str, rtm_settings: RtmSettings
) -> None:
    process = migrate(postgres_server.url(database))
    assert process.wait(timeout=120) == 0
    postgres_server.execute(database, _RUNTIME_ROLE)
    url = postgres_server.url(database).replace("postgres@", "rtm_runtime@")
    rtm_settings(database_url=url)
    app = Celery("results")
    configure_worker(SimpleNamespace(), app.conf)
    try:
        app.backend.store_result("task-1", {"checked": 3}, "SUCCESS")

        assert app.backend.get_result("task-1") == {"checked": 3}
    finally:
        app.backend.cleanup()
        postgres_server.execute(database, "DROP OWNED BY rtm_runtime; DROP ROLE rtm_runtime")


def test_sessions_have_their_settings_without_startup_options() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
        assert cursor.fetchone() == ("5s", "15s")
    assert "options" not in cast("DatabaseWrapper", connection).get_connection_params()

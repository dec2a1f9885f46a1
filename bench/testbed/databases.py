"""Databases beside that of the service, on the same PostgreSQL."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2 import sql

from bench.testbed.testbed import PYTHON, Testbed
from deploy.local.system.shell import run
from deploy.local.workspace import CLONE
from rtmanager.config import PREFIX


@contextmanager
def database(testbed: Testbed, name: str) -> Iterator[str]:
    """An empty database during a block; yields its URL. One that an earlier measure left is replaced."""
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    _execute(testbed, drop)
    _execute(testbed, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    before, _slash, rest = testbed.config.database_url.rpartition("/rtmanager?")
    yield f"{before}/{name}?{rest}"
    # After an error the testbed stops, and its PostgreSQL with it.
    _execute(testbed, drop)


@contextmanager
def migrated(testbed: Testbed, name: str) -> Iterator[str]:
    """A database with the tables of the service."""
    with database(testbed, name) as address:
        log = testbed.stack.workspace.log("migrate")
        settings = {**os.environ, f"{PREFIX}DATABASE_URL": address}
        run([PYTHON, "manage.py", "migrate", "--no-input"], log=log, environment=settings, cwd=CLONE)
        yield address


def _execute(testbed: Testbed, statement: sql.Composed) -> None:
    with closing(psycopg2.connect(testbed.config.database_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)

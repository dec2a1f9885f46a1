"""Databases beside that of the service, on the same PostgreSQL."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2 import sql

from bench.ground import PYTHON, Ground
from deploy.local.system.shell import run
from deploy.local.workspace import CLONE
from rtmanager.config import PREFIX


@contextmanager
def database(ground: Ground, name: str) -> Iterator[str]:
    """An empty database for the time of a block; returns its address."""
    _execute(ground, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        before, _slash, rest = ground.config.database_url.rpartition("/rtmanager?")
        yield f"{before}/{name}?{rest}"
    finally:
        _execute(ground, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def migrated(ground: Ground, name: str) -> Iterator[str]:
    """The same with the tables of the service in it."""
    with database(ground, name) as address:
        log = ground.stack.workspace.log("migrate")
        settings = {**os.environ, f"{PREFIX}DATABASE_URL": address}
        run([PYTHON, "manage.py", "migrate", "--no-input"], log=log, environment=settings, cwd=CLONE)
        yield address


def _execute(ground: Ground, statement: sql.Composed) -> None:
    with closing(psycopg2.connect(ground.config.database_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)

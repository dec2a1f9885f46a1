"""What statements share: preparation, the time of the database, and the keys of advisory locks.

Prepared statements are for the SQL that every job runs: the server plans it once per connection, and planning takes
longer than executing. Logs and pg_stat_activity show it as ``EXECUTE name (...)``; pg_prepared_statements has the text.
After a restart of the server or a change of the tables, the server plans it again automatically.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connection
from django.db.models import Model

_PARAMETER = re.compile(r"%\((\w+)\)s")
# Driver connection → names of its prepared statements. Only one thread at a time uses a connection.
_prepared: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
# SQL expression: the schema of our tables. Not current_schema(): that is the first schema of the search_path, which may
# be another one, and may change when a new schema is created.
SCHEMA = """coalesce(
        (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('operations_operation')),
        current_schema(), '')"""
# SQL text that identifies this installation: the database and the schema.
_INSTALLATION = f"(current_database() || '.' || {SCHEMA})"


def key_of(name: str) -> str:
    """SQL for the second half (int4) of the key of an advisory lock. ``name`` is an SQL expression of type text.

    PostgreSQL keeps advisory locks per database, which may hold several installations in separate schemas.
    """
    return f"hashtext({_INSTALLATION} || ' ' || {name})"


def database_now() -> datetime:
    """The current database time, also inside a transaction: the only clock that decisions use."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def columns(model: type[Model], prefix: str = "") -> str:
    """All columns of a model by name, for a statement that must not use ``*``."""
    return ", ".join(prefix + column.attname for column in model._meta.concrete_fields)  # noqa: SLF001 - Django's public name for it


class Prepared:
    """One statement with parameters ``%(name)s`` and a name that is unique in this program.

    It must name each column that it returns (``columns``), because a migration changes the meaning of ``*``.
    """

    def __init__(self, name: str, text: str) -> None:
        names = list(dict.fromkeys(_PARAMETER.findall(text)))
        self.name = name
        self._parameters = names
        self._prepare = f"PREPARE {name} AS " + _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", text)
        self._execute = f"EXECUTE {name} ({', '.join(['%s'] * len(names))})" if names else f"EXECUTE {name}"

    def bind(self, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """Prepare the statement on this thread's connection if needed; returns the arguments of ``cursor.execute``."""
        connection.ensure_connection()
        driver = connection.connection
        known = _prepared.setdefault(driver, set())
        if self.name not in known:
            with connection.wrap_database_errors, driver.cursor() as cursor:
                cursor.execute(self._prepare)
            known.add(self.name)
        return self._execute, [values[name] for name in self._parameters]

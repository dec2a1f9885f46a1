"""Statements that the server plans once for each connection, not each time: for what every job needs to have done.

To plan one takes longer than to carry it out. It goes over the wire as ``EXECUTE name (...)``, which logs and
pg_stat_activity show; pg_prepared_statements has the text. A server that is replaced, or tables that change, make the
server plan anew by itself.
"""

import re
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connection
from django.db.models import Model

_PARAMETER = re.compile(r"%\((\w+)\)s")

# Connection of the driver → what it has prepared. A connection is used by one thread at a time.
_prepared: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


def columns(model: type[Model], prefix: str = "") -> str:
    """All columns of a model, by name, for a statement that must not say ``*``."""
    return ", ".join(prefix + one.attname for one in model._meta.concrete_fields)  # noqa: SLF001 - Django's public name for it


class Prepared:
    """One statement with parameters ``%(name)s``, under a name that is unique in this program.

    It must name each column that it returns (``columns``): ``*`` would be something else after a migration.
    """

    def __init__(self, name: str, text: str) -> None:
        names = list(dict.fromkeys(_PARAMETER.findall(text)))
        self.name = name
        self._parameters = names
        self._prepare = f"PREPARE {name} AS " + _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", text)
        self._execute = f"EXECUTE {name} ({', '.join(['%s'] * len(names))})" if names else f"EXECUTE {name}"

    def bind(self, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """What a cursor is to execute, on this thread's connection, which knows the statement afterwards."""
        connection.ensure_connection()
        driver = connection.connection
        known = _prepared.setdefault(driver, set())
        if self.name not in known:
            with connection.wrap_database_errors, driver.cursor() as cursor:
                cursor.execute(self._prepare)
            known.add(self.name)
        return self._execute, [values[name] for name in self._parameters]

"""The database backend in ``DATABASES``: PostgreSQL with a free health check, and without read-only sessions."""

import select
from types import TracebackType
from typing import Any

from django.db import OperationalError
from django.db.backends.postgresql import base
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property
from psycopg2 import Error, InterfaceError
from psycopg2.errorcodes import READ_ONLY_SQL_TRANSACTION

from rtmanager.database_urls import prepare_session

_READ_ONLY = "PostgreSQL is read-only here (a standby, or default_transaction_read_only is on)"


class _ErrorWrapper(DatabaseErrorWrapper):
    """Raises an OperationalError, as for a lost server, when the server refuses a write in a read-only session."""

    def __init__(self, wrapper: "DatabaseWrapper") -> None:
        super().__init__(wrapper)
        self._database = wrapper

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(exc_value, Error) and exc_value.pgcode == READ_ONLY_SQL_TRANSACTION:
            self._database.errors_occurred = True
            self._database.is_read_only = True
            message = f"{_READ_ONLY}: {str(exc_value).strip()}"
            raise OperationalError(message).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's PostgreSQL backend with a health check that needs no query and drops read-only sessions.

    After a failover, a session may still be connected to the old primary. Only a new session finds the new one.
    """

    is_read_only = False

    @cached_property
    def wrap_database_errors(self) -> DatabaseErrorWrapper:
        return _ErrorWrapper(self)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        self.is_read_only = False
        return super().get_new_connection(conn_params)

    def init_connection_state(self) -> None:
        super().init_connection_state()
        prepare_session(self.connection, self.settings_dict.get("SESSION_SETTINGS", {}))

    def why_read_only(self) -> str:
        """Return why the session of the last query cannot write, as far as this machine knows; empty if it can."""
        # PostgreSQL reports both parameters after the query that follows a change.
        reported = ("in_hot_standby", "default_transaction_read_only")
        info = self.connection.info if self.connection is not None else None
        is_read_only = info and any(info.parameter_status(name) == "on" for name in reported)
        return _READ_ONLY if self.is_read_only or is_read_only else ""

    def is_usable(self) -> bool:
        """Return whether the session can write and the server has not closed it, as far as this machine knows.

        With CONN_HEALTH_CHECKS, Django runs a query once per request and per Celery task: a fifth of all queries. But
        a server that closes a connection sends a message, so the idle socket becomes readable. If the server vanishes
        silently, only the TCP keepalives detect it; a query would just wait for them.
        """
        if self.connection is None or self.why_read_only():
            return False
        poller = select.poll()
        try:
            poller.register(self.connection, select.POLLIN)
        except (InterfaceError, ValueError):
            # Closed by this process.
            return False
        return not poller.poll(0)

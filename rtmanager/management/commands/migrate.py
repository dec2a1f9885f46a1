"""Django's ``migrate``, one at a time: every host of a deployment may run it."""

from typing import Any

from django.core.management.commands import migrate
from django.db import connection

from operations.queue.database import key_of

_NAMESPACE = 0x52544E
# Purpose: only one process changes the tables of this installation. The wait has no limit: a migration may take long.
# Lock: (namespace, key), exclusive, until the session ends.
_LOCK = f"SELECT pg_advisory_lock(%s, {key_of('%s::text')})"
_WAIT_WITHOUT_LIMIT = "SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)"


class Command(migrate.Command):
    """Waits for a ``migrate`` of the same installation that runs elsewhere, then applies what is still missing."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate under an advisory lock. A session of its own holds it, because migrations may close theirs."""
        session = connection.copy()
        try:
            with session.cursor() as cursor:
                cursor.execute(_WAIT_WITHOUT_LIMIT)
                cursor.execute(_LOCK, [_NAMESPACE, "migrate"])
            super().handle(*args, **options)
        finally:
            session.close()

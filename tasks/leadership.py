"""One active process per job of which there must be only one; the others stand by.

Leadership is a PostgreSQL advisory lock held by the very connection that does the work, so losing the connection
loses both at once. A process that freezes is cut off by the server after a silence, which frees the lock: a lease
on database time that needs no table.
"""

import zlib
from typing import Any

import structlog
from django.db import connection

from operations.pulses import SteadyPulse

log = structlog.get_logger(__name__)

# Longer than any pause between two queries of a healthy leader (its reads block for two seconds at most).
_SILENCE_MS = 15_000
_NAMESPACE = 0x52544C


class Leadership:
    """The right to be the one that does ``name``. Belongs to one thread and its database connection."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._key = zlib.crc32(name.encode()) & 0x7FFFFFFF
        self._held_by: Any = None
        self._pulse = SteadyPulse(name)

    def hold(self, *, asks_next: bool = False) -> bool:
        """Take or keep the leadership; one cheap query either way. False while another process has it. Whoever
        ``asks_next`` goes on with a query anyway, and needs none before it to keep what he has.

        To be called once a pass. Keeping it leaves a pulse: a pass that fails loses its connection and the leadership
        with it, so who still has it has ended the pass before this one well. Standbys leave none.
        """
        if self._is_ours():
            if not self._pulse.beat() and not asks_next:
                self._prove_alive()
            return True
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('idle_session_timeout', %s, false)", [str(_SILENCE_MS)])
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_NAMESPACE, self._key])
            row = cursor.fetchone()
        if not (row and row[0]):
            return False
        self._held_by = connection.connection
        log.info("leadership_taken", leadership=self.name)
        return True

    def is_fresh(self) -> bool:
        """Whether the leadership was not held by this connection before: everything remembered must be re-read."""
        return not self._is_ours()

    def resign(self) -> None:
        """Let the next one lead at once. Idempotent."""
        if self._is_ours():
            log.info("leadership_resigned", leadership=self.name)
        self._held_by = None
        connection.close()

    def _is_ours(self) -> bool:
        return self._held_by is not None and self._held_by is connection.connection

    def _prove_alive(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

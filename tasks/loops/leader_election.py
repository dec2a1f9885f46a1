"""Leader election: one process is active per loop, and the others stand by.

The leadership is a PostgreSQL advisory lock. The connection that does the work holds it, so both are lost together. If
a process freezes, the server ends its idle session and frees the lock: a lease on database time without a table. Each
installation (each schema of a database) elects its own leaders.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.db import DatabaseError, InterfaceError, connection

from operations.monitoring.heartbeats import ThrottledHeartbeat, record_stop
from operations.queue.database import key_of

log = structlog.get_logger(__name__)

# Longer than any pause between two queries of a healthy leader: its reads block for at most two seconds.
_IDLE_TIMEOUT_MS = 15_000
_NAMESPACE = 0x52544C
# When a process that stands by first logs the holder, and the time until it logs the holder again.
_FIRST_REPORT_SECONDS = 60.0
_NEXT_REPORT_SECONDS = 3600.0
_LONGEST_APPLICATION_NAME = 63

# Purpose: take the lock, and let the server end an idle session. The application name is for pg_stat_activity; a
# name in the database URL of the settings stays. Lock: (namespace, key), exclusive, until the session ends.
_TAKE = f"""
    SELECT set_config('idle_session_timeout', %s, false),
           set_config('application_name', coalesce(nullif(current_setting('application_name'), ''), %s), false),
           pg_try_advisory_lock(%s, {key_of("%s::text")})
"""

# Purpose: the sessions that hold these leaderships of this installation. Takes no lock. Without the rights of
# pg_read_all_stats, the server hides the address and the times of other users' sessions: they are null then.
_HOLDERS = f"""
    SELECT leadership.name, lock.pid, session.application_name, host(session.client_addr), session.backend_start
      FROM unnest(%s::text[]) AS leadership(name)
      JOIN pg_locks AS lock
        ON lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 2
       AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND lock.classid = %s::bigint::oid
       AND lock.objid = ({key_of("leadership.name")}::bigint & 4294967295)::oid
      LEFT JOIN pg_stat_activity AS session ON session.pid = lock.pid
"""  # noqa: S608 - fragments of our own; every value is a parameter


@dataclass(frozen=True, slots=True)
class Holder:
    """The PostgreSQL session that holds a leadership. ``address`` is empty for a local socket or when not visible."""

    pid: int
    application: str
    address: str
    connected_at: datetime | None


def holders(names: Sequence[str]) -> dict[str, Holder]:
    """Return which session holds each of these leaderships now; leaderships without a session are left out."""
    with connection.cursor() as cursor:
        cursor.execute(_HOLDERS, [list(names), _NAMESPACE])
        rows = cursor.fetchall()
    return {
        name: Holder(pid, application or "", address or "", since) for name, pid, application, address, since in rows
    }


class LeaderElection:
    """The leadership of one loop. Belongs to one thread and its database connection.

    ``clock`` returns monotonic seconds; it only decides when a standby logs the holder.
    """

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._held_on: Any = None
        self._heartbeat = ThrottledHeartbeat(name)
        self._clock = clock
        self._waiting_since: float | None = None
        self._next_report = 0.0

    def hold(self, *, skip_ping: bool = False) -> bool:
        """Take or keep the leadership with one cheap query; return False while another process holds it.

        Pass ``skip_ping=True`` if the caller runs a query next: that query keeps the session alive.

        Call this once per pass. A leader also records a heartbeat here. A failed pass closes the connection and so
        loses the leadership. So a process that still leads has completed its previous pass. A standby records nothing.
        """
        if self._is_ours():
            if not self._heartbeat.record_heartbeat() and not skip_ping:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
            return True
        with connection.cursor() as cursor:
            cursor.execute(_TAKE, [str(_IDLE_TIMEOUT_MS), application_name(self.name), _NAMESPACE, self.name])
            row = cursor.fetchone()
        if not (row and row[-1]):
            self._stand_by()
            return False
        self._waiting_since = None
        self._held_on = connection.connection
        log.info("leadership_taken", leadership=self.name)
        return True

    def is_newly_elected(self) -> bool:
        """Return whether this connection does not hold the leadership yet: the caller must reload all cached state."""
        return not self._is_ours()

    def release(self) -> None:
        """Let a standby take over at once. Idempotent."""
        if self._is_ours():
            log.info("leadership_released", leadership=self.name)
            # While the lock is held: a successor must not be recorded as stopped.
            with suppress(DatabaseError, InterfaceError):
                record_stop(self.name)
        self._held_on = None
        connection.close()

    def _is_ours(self) -> bool:
        return self._held_on is not None and self._held_on is connection.connection

    def _stand_by(self) -> None:
        """Log the holder if it is time. Standing by is normal: log it after 60 s, and then once an hour."""
        now = self._clock()
        if self._waiting_since is None:
            self._waiting_since, self._next_report = now, now + _FIRST_REPORT_SECONDS
        if now < self._next_report:
            return
        self._next_report = now + _NEXT_REPORT_SECONDS
        holder = holders([self.name]).get(self.name)
        # Without a holder, the lock is free now; the next pass takes it.
        if holder is not None:
            log.info(
                "leadership_awaited",
                leadership=self.name,
                waited_seconds=round(now - self._waiting_since),
                holder_pid=holder.pid,
                holder_application=holder.application,
                holder_address=holder.address,
                holder_connected_at=holder.connected_at.isoformat() if holder.connected_at else "",
            )


def application_name(leadership: str) -> str:
    """Return the application name for pg_stat_activity: the leadership, the host and the process id."""
    tail = f":{os.getpid()}"
    return f"rtmanager-{leadership}@{socket.gethostname()}"[: _LONGEST_APPLICATION_NAME - len(tail)] + tail

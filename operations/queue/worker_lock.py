"""The lock of each worker process, which shows the sweeper whether the process still lives.

PostgreSQL releases the lock with its session, and the kernel closes the connection of a killed process at once. Each
claim records the lock of its worker. The sweeper ends the leases under locks that no session holds any more. The lease
remains for everything else: a frozen process, a host without power, a claim without a lock.
"""

import secrets
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from operations.queue.database import Prepared

# A sweeper session younger than this ends no lease: after a restart or a failover of PostgreSQL, or of a pooler, all
# sessions begin again, and workers need about a second to take their locks again.
SETTLE_SECONDS = 3.0

# Purpose: hold the lock of a worker until its session ends, however long the session is idle. The keepalives let the
# server notice within 25 s that the other host is gone.
# Lock: the key, shared: a worker that has lost its connection takes it again while the server still keeps the old one.
_HOLD = """
    SELECT pg_advisory_lock_shared(%s), set_config('idle_session_timeout', '0', false),
           set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
           set_config('tcp_keepalives_count', '3', false)
"""
# Purpose: which locks of running operations does no session hold? End the leases under those that are ``suspects``,
# unless this session is too young. A lease ends in this way once: if its worker lives and goes on, only time ends it.
# Locks: the rows whose lease ends.
_END_LEASES = Prepared(
    "end_leases_without_worker",
    """
    WITH session AS MATERIALIZED (
        SELECT datid, backend_start FROM pg_stat_get_activity(pg_backend_pid())),
    missing AS MATERIALIZED (
        SELECT id, worker_lock FROM operations_operation AS mine
         WHERE state = 'running' AND worker_lock IS NOT NULL AND NOT EXISTS (
               SELECT 1 FROM pg_locks AS held
                WHERE held.locktype = 'advisory' AND held.objsubid = 1 AND held.granted
                  AND held.database = (SELECT datid FROM session)
                  AND (held.classid::bigint << 32) | held.objid::bigint = mine.worker_lock)),
    ended AS (
        UPDATE operations_operation AS mine
           SET lease_until = least(mine.lease_until, now()), worker_lock = NULL
          FROM missing
         WHERE mine.id = missing.id AND mine.state = 'running' AND mine.worker_lock = missing.worker_lock
           AND mine.worker_lock = ANY(%(suspects)s)
           AND (SELECT backend_start FROM session) < now() - %(settle)s * interval '1 second'
     RETURNING mine.id, mine.claimed_by)
    SELECT missing.worker_lock, ended.id, ended.claimed_by FROM missing LEFT JOIN ended USING (id)
    """,
)


class WorkerLock:
    """The lock of this process. One thread holds it, on its own database connection; all claims read its key."""

    def __init__(self) -> None:
        self._key = 0
        self._held_on: Any = None
        self.was_taken = threading.Event()

    def hold(self) -> None:
        """Take the lock on the connection of this thread, if that does not hold it yet. Raises DatabaseError.

        The key is random: neither a process id used again nor a second host of the same name repeats it, and it
        differs from the keys of other installations in the same database.
        """
        if self._held_on is not None and self._held_on is connection.connection:
            return
        self.release()
        self._key = self._key or secrets.randbelow(2**63 - 1) + 1
        with connection.cursor() as cursor:
            cursor.execute(_HOLD, [self._key])
        self._held_on = connection.connection
        self.was_taken.set()

    def check(self) -> None:
        """Raise DatabaseError if the session has ended: one round trip. For the thread that holds the lock."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    def release(self) -> None:
        """Close the connection of this thread, and the lock with it: claims record no lock until ``hold``."""
        self._held_on = None
        connection.close()

    @property
    def key(self) -> int | None:
        """What a claim records; None while this process does not hold its lock."""
        return self._key if self._held_on is not None else None


worker_lock = WorkerLock()


@dataclass(frozen=True, slots=True)
class DeadWorkers:
    """Locks of running operations that no session holds; the operations whose lease was ended, and their workers."""

    missing_locks: frozenset[int] = frozenset()
    operation_ids: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


def end_leases_of_dead_workers(suspects: Collection[int], *, settle_seconds: float = SETTLE_SECONDS) -> DeadWorkers:
    """End the leases under locks that no session holds now, as far as they are ``suspects``; report all such locks.

    Pass the locks that the previous call reported: a worker that has only lost its connection takes its lock again in
    between. One that does not is treated as after an expired lease: its next write finds a higher fence.
    """
    with connection.cursor() as cursor:
        cursor.execute(*_END_LEASES.bind({"suspects": list(suspects), "settle": settle_seconds}))
        rows = cursor.fetchall()
    ended = [(operation_id, worker) for _lock, operation_id, worker in rows if operation_id is not None]
    return DeadWorkers(
        missing_locks=frozenset(lock for lock, _operation_id, _worker in rows),
        operation_ids=[operation_id for operation_id, _worker in ended],
        names=sorted({worker for _operation_id, worker in ended}),
    )

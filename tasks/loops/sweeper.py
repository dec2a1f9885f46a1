"""Ends the leases of dead workers, and notifies the workers again of operations that no worker holds."""

import structlog

from operations.dispatch import notifier
from operations.queue.claims import find_unattended
from operations.queue.worker_lock import SETTLE_SECONDS, end_leases_of_dead_workers
from tasks.loops.base import Loop
from tasks.loops.leader_election import LeaderElection

log = structlog.get_logger(__name__)

_INTERVAL_SECONDS = 1.0
# A worker claims an operation within milliseconds of its notification. After this time the notification counts as lost.
_GRACE_SECONDS = 2.0


class Sweeper(Loop):
    """Finds open operations after a lost notification, a dead worker, or the end of a back-off.

    A worker counts as dead if its lock is missing in two passes in a row. Until this session has lasted
    ``settle_seconds``, none does.
    """

    name = "sweeper"
    always_queries = True

    def __init__(self, *, settle_seconds: float = SETTLE_SECONDS, leadership: LeaderElection | None = None) -> None:
        super().__init__(leadership)
        self._settle_seconds = settle_seconds
        self._suspects: frozenset[int] = frozenset()

    def lead(self) -> float:
        dead = end_leases_of_dead_workers(self._suspects, settle_seconds=self._settle_seconds)
        self._suspects = dead.missing_locks
        if dead.operation_ids:
            log.warning("leases_ended_early", workers=dead.names, operations=len(dead.operation_ids))
        unattended = find_unattended(grace_seconds=_GRACE_SECONDS)
        if unattended:
            log.info("operations_renotified", operations=len(unattended))
            notifier().send(unattended)
        return _INTERVAL_SECONDS

    def reset(self) -> None:
        self._suspects = frozenset()

"""Notifies the workers again of operations that no worker holds."""

import structlog

from operations.dispatch import notifier
from operations.queue.claims import find_unattended
from tasks.loops.base import Loop

log = structlog.get_logger(__name__)

_INTERVAL_SECONDS = 2.0
# A worker claims an operation within milliseconds of its notification. After this time the notification counts as lost.
_GRACE_SECONDS = 2.0


class Sweeper(Loop):
    """Finds accepted operations after a lost notification, a dead worker, or the end of a back-off."""

    name = "sweeper"
    standby_seconds = _INTERVAL_SECONDS
    always_queries = True

    def lead(self) -> float:
        unattended = find_unattended(grace_seconds=_GRACE_SECONDS)
        if unattended:
            log.info("operations_renotified", operations=len(unattended))
            notifier().send(unattended)
        return _INTERVAL_SECONDS

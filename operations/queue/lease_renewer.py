"""Renew leases while Docker calls run, and requeue operations after a database outage."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from operations.queue import claims
from operations.queue.claims import Claim

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0


class LeaseRenewer:
    """A thread that extends all leases of this process in one statement, every third of a lease.

    So a pull or a graceful stop may take longer than a lease, while a killed or suspended process loses its claims
    within one lease. The thread decides nothing: each ``write_step`` checks its own claim (``claims.renew``).
    """

    def __init__(self) -> None:
        self._held: dict[int, Claim] = {}
        self._pending: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        # Held from the copy of the claims until they are extended, so that ``release_all`` cannot run in between.
        self._renewing = threading.Lock()
        self._wake = threading.Event()
        self._has_pending = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def renewing(self, claim: Claim) -> Iterator[None]:
        """Extend the claim's lease while the block runs."""
        self.add(claim)
        try:
            yield
        finally:
            self.remove(claim)

    def add(self, claim: Claim) -> None:
        """Start to extend this claim."""
        with self._lock:
            # By fence: this process may have taken over an operation whose first thread still runs.
            self._held[claim.fence] = claim
        self._ensure_thread()

    def remove(self, claim: Claim) -> bool:
        """Stop extending it; False if it was not being extended. Idempotent."""
        with self._lock:
            return self._held.pop(claim.fence, None) is not None

    def run_when_db_is_back(self, callback: Callable[[], None]) -> None:
        """Call this once the database answers, to requeue a claim before its lease expires.

        The callback is lost if the process ends, or if the database answers with an error.
        """
        self._pending.append(callback)
        self._has_pending.set()
        self._ensure_thread()

    def release_all(self) -> int:
        """End all leases now, so that other workers continue at once; returns how many there were.

        For a process that ends right after this call, wherever its work is.
        """
        with self._renewing:
            with self._lock:
                held = list(self._held.values())
                self._held.clear()
            claims.release_leases(held)
        return len(held)

    def renew_now(self) -> None:
        """Extend all leases; stop extending those that no longer hold. Logs each operation that another worker took."""
        with self._renewing:
            with self._lock:
                held = list(self._held.values())
            ended = claims.renew_all(held)
        for claim in ended:
            # The worker may have just completed the operation, and not removed its claim yet.
            if self.remove(claim) and claims.is_taken_over(claim):
                self._log_lost(claim)

    @staticmethod
    def _log_lost(claim: Claim) -> None:
        log.warning(
            "lease_lost",
            operation_id=claim.operation_id,
            game_id=claim.operation.game_id,
            op_kind=claim.operation.op_kind,
            fence=claim.fence,
            worker=claim.operation.claimed_by,
        )

    def _ensure_thread(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lease-renewer", daemon=True)
                self._thread.start()
        self._wake.set()

    def _run_pending(self) -> None:
        while self._pending:
            try:
                self._pending[0]()
            except (DatabaseError, InterfaceError) as error:
                if not connection.is_usable():
                    raise
                log.warning("requeue_failed", error=str(error).strip())
            self._pending.popleft()

    def _run(self) -> None:
        failing = False
        while True:
            self._idle_until_needed()
            try:
                self._run_pending()
                self.renew_now()
                failing = False
            except (DatabaseError, InterfaceError) as error:
                connection.close()
                if not failing:
                    log.warning("leases_not_renewed", error=str(error).strip())
                failing = True

    def _idle_until_needed(self) -> None:
        # Cleared before the check: an addition in between sets it again, and the wait ends at once.
        self._wake.clear()
        self._has_pending.clear()
        if not self._held and not self._pending:
            # Without leases, the thread needs no database connection.
            connection.close()
            self._wake.wait()
        if self._pending:
            time.sleep(_RETRY_SECONDS)
        else:
            self._has_pending.wait(settings.RTMANAGER.game_lease_ttl_seconds / 3)


lease_renewer = LeaseRenewer()

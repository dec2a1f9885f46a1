"""Keeping leases alive while Docker takes its time, and settling what an absent database left undone."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from operations import claims
from operations.claims import Claim

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0


class LeaseKeeper:
    """Extends the leases of this process's claims in the background, all in one statement, every third of a lease.

    A pull or a graceful stop may so outlast the lease, while a killed or frozen process loses its claims within one.
    It never decides anything: each mutating step checks its own claim (``claims.renew``).
    """

    def __init__(self) -> None:
        self._held: dict[int, Claim] = {}
        self._owed: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        # Held from the look at what is to be extended until it is: nothing is let go in between.
        self._renewing = threading.Lock()
        self._wake = threading.Event()
        self._owes = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keep(self, claim: Claim) -> Iterator[None]:
        """Extend the claim's lease while the block runs."""
        self.add(claim)
        try:
            yield
        finally:
            self.discard(claim)

    def add(self, claim: Claim) -> None:
        """Begin to extend this claim."""
        with self._lock:
            # By fence: this process may itself have taken over an operation whose first thread is still in the midst.
            self._held[claim.fence] = claim
        self._go_on()

    def discard(self, claim: Claim) -> bool:
        """Stop extending it; False when it was not extended any more. Idempotent."""
        with self._lock:
            return self._held.pop(claim.fence, None) is not None

    def owe(self, deed: Callable[[], None]) -> None:
        """Do this once, as soon as the database answers; for giving back a claim before its lease is over.

        Forgotten with the process, and when the database answers with an error.
        """
        self._owed.append(deed)
        self._owes.set()
        self._go_on()

    def let_go(self) -> int:
        """Let every lease held end now, so that other workers go on at once; returns how many there were.

        For a process that ends in this very moment: its work stops wherever it is.
        """
        with self._renewing:
            with self._lock:
                held = list(self._held.values())
                self._held.clear()
            claims.let_expire(held)
        return len(held)

    def renew_now(self) -> None:
        """Extend everything held; forget what is lost."""
        with self._renewing:
            with self._lock:
                held = list(self._held.values())
            all_lost = claims.renew_all(held)
        for lost in all_lost:
            # One that has just ended is not lost; its worker has taken it back already.
            if self.discard(lost):
                operation = lost.operation
                log.warning("lease_lost", operation_id=operation.pk, game_id=operation.game_id, fence=lost.fence)

    def _go_on(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
                self._thread.start()
        self._wake.set()

    def _settle(self) -> None:
        while self._owed:
            try:
                self._owed[0]()
            except (DatabaseError, InterfaceError) as error:
                if not connection.is_usable():
                    raise
                log.warning("claim_not_given_back", error=str(error).strip())
            self._owed.popleft()

    def _run(self) -> None:
        failing = False
        while True:
            self._idle_until_needed()
            try:
                self._settle()
                self.renew_now()
                failing = False
            except (DatabaseError, InterfaceError) as error:
                connection.close()
                if not failing:
                    log.warning("leases_not_renewed", error=str(error).strip())
                failing = True

    def _idle_until_needed(self) -> None:
        # Cleared before the look: what is added in between sets it again and the wait ends at once.
        self._wake.clear()
        self._owes.clear()
        if not self._held and not self._owed:
            # Whoever has nothing to extend keeps no connection for it.
            connection.close()
            self._wake.wait()
        if self._owed:
            time.sleep(_RETRY_SECONDS)
        else:
            self._owes.wait(settings.RTMANAGER.game_lease_ttl_seconds / 3)


keeper = LeaseKeeper()

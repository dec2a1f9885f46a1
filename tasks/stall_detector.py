"""Detects work that makes no progress, by counting checks instead of measuring time."""

import threading
from collections.abc import Hashable, Iterator

from django.conf import settings

# The exit code of a process that ends itself because it hangs (EX_SOFTWARE of sysexits.h).
STUCK_EXIT_CODE = 70
CHECKS = 4


def checks(stopping: threading.Event) -> Iterator[None]:
    """Yield CHECKS times per STUCK_AFTER until the process stops; only wait if STUCK_AFTER is zero."""
    stuck_after = settings.RTMANAGER.stuck_after.total_seconds()
    while not stopping.wait(stuck_after / CHECKS if stuck_after else None):
        yield


class StallDetector:
    """Counts consecutive checks that see the same work without progress.

    A process that was suspended wakes to a later clock but ran no checks meanwhile. So the work it watches gets its
    full time again.
    """

    def __init__(self) -> None:
        self._last: Hashable = None
        self._repeats = 0

    def is_stalled(self, current: Hashable) -> bool:
        """Run one check. ``current`` changes with each step of progress; None means that no work waits."""
        self._repeats = self._repeats + 1 if current is not None and current == self._last else 0
        self._last = current
        return self._repeats >= CHECKS

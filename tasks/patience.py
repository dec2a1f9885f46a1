"""When to stop waiting for something that should go on: after so many looks, not after so much time."""

from collections.abc import Hashable

# Exit code of a process that ends itself because it hangs (EX_SOFTWARE of sysexits.h).
STUCK_EXIT_CODE = 70
LOOKS = 4


class Patience:
    """Counts the looks in a row that saw the same thing under way and no progress.

    A process that was frozen, or whose machine slept, wakes to a later clock but has not looked meanwhile: what it
    guards gets its whole time again before it is called stuck.
    """

    def __init__(self) -> None:
        self._seen: Hashable = None
        self._looks = 0

    def is_over(self, under_way: Hashable) -> bool:
        """Take in one look. ``under_way`` changes with every bit of progress; None: nothing waits to be done."""
        self._looks = self._looks + 1 if under_way is not None and under_way == self._seen else 0
        self._seen = under_way
        return self._looks >= LOOKS

"""The whole state machine of a runtime, as data. ``docs/states.md`` is held against it by a test."""

from django.db import models


class RuntimeStatus(models.TextChoices):
    """What RTM has recorded of a game: its container runs, is stopped, or no longer exists."""

    RUNNING = "running", "running"
    STOPPED = "stopped", "stopped"
    REMOVED = "removed", "removed"


# A first record may be written as running (start) or as stopped (start with no_start).
INITIAL_STATUSES = frozenset({RuntimeStatus.RUNNING, RuntimeStatus.STOPPED})

TRANSITIONS: dict[RuntimeStatus, frozenset[RuntimeStatus]] = {
    RuntimeStatus.RUNNING: frozenset({RuntimeStatus.STOPPED, RuntimeStatus.REMOVED}),
    RuntimeStatus.STOPPED: frozenset({RuntimeStatus.RUNNING, RuntimeStatus.REMOVED}),
    RuntimeStatus.REMOVED: frozenset({RuntimeStatus.RUNNING}),
}


def may_move(old: RuntimeStatus, new: RuntimeStatus) -> bool:
    """Whether a runtime may go from one status to another. Staying where it is counts as allowed."""
    return old == new or new in TRANSITIONS[old]

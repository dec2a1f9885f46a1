"""The whole state machine of a runtime, as data. ``docs/states.md`` is held against it by a test."""

from django.db import models


class RuntimeStatus(models.TextChoices):
    """What RTM has recorded of a game: its container runs, is stopped, or no longer exists."""

    RUNNING = "running", "running"
    STOPPED = "stopped", "stopped"
    REMOVED = "removed", "removed"


class CallerName(models.TextChoices):
    """The services that may call the API."""

    GM = "gm", "Game Master"
    ADMIN = "admin", "Admin service"


class Scope(models.TextChoices):
    """What a caller may do: look, or have something done."""

    READ = "read", "read"
    OPERATE = "operate", "operate"


class TokenScopes(models.TextChoices):
    """The sets of scopes a token can hold, as they are stored."""

    READ = "read", "read"
    OPERATE = "operate", "operate"
    READ_OPERATE = "read operate", "read and operate"


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

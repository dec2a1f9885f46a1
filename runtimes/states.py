"""The state machine of a runtime as data, and the choices of model fields. A test compares it with docs/states.md."""

from django.db import models


class RuntimeStatus(models.TextChoices):
    """The recorded state of a game: its container runs, is stopped, or no longer exists."""

    RUNNING = "running", "running"
    STOPPED = "stopped", "stopped"
    REMOVED = "removed", "removed"


class EndedBy(models.TextChoices):
    """Why the container of a game exited without a requested stop. Empty: it runs, or an operation stopped it."""

    DOCKER_RESTARTED = "docker_restarted", "Docker restarted"
    OUT_OF_MEMORY = "out_of_memory", "out of memory"
    KILLED = "killed", "killed by a signal"
    EXITED = "exited", "exited"


class CallerName(models.TextChoices):
    """The services that may call the API."""

    GM = "gm", "Game Master"
    ADMIN = "admin", "Admin service"


class Scope(models.TextChoices):
    """What a caller may do: read, or request operations."""

    READ = "read", "read"
    OPERATE = "operate", "operate"


class TokenScopes(models.TextChoices):
    """The sets of scopes of a token, as stored in the database."""

    READ = "read", "read"
    OPERATE = "operate", "operate"
    READ_OPERATE = "read operate", "read and operate"


# A new record is running (start) or stopped (start with no_start).
INITIAL_STATUSES = frozenset({RuntimeStatus.RUNNING, RuntimeStatus.STOPPED})

TRANSITIONS: dict[RuntimeStatus, frozenset[RuntimeStatus]] = {
    RuntimeStatus.RUNNING: frozenset({RuntimeStatus.STOPPED, RuntimeStatus.REMOVED}),
    RuntimeStatus.STOPPED: frozenset({RuntimeStatus.RUNNING, RuntimeStatus.REMOVED}),
    RuntimeStatus.REMOVED: frozenset({RuntimeStatus.RUNNING}),
}


def can_transition(old: RuntimeStatus, new: RuntimeStatus) -> bool:
    """Whether the status may change from ``old`` to ``new``. An unchanged status is allowed."""
    return old == new or new in TRANSITIONS[old]

"""The enumerations of an operation: kinds, sources, states, outcomes and others."""

from django.db import models


class OperationKind(models.TextChoices):
    """What is done to a runtime."""

    START = "start", "start"
    STOP = "stop", "stop"
    RESTART = "restart", "restart"
    PATCH = "patch", "patch"
    CLEANUP_CONTAINER = "cleanup_container", "cleanup container"
    RECONCILE_ADOPT = "reconcile_adopt", "reconcile: adopt"
    RECONCILE_DISPOSE = "reconcile_dispose", "reconcile: dispose"
    RECONCILE_EXIT = "reconcile_exit", "reconcile: observed exit"


class OperationSource(models.TextChoices):
    """Who asked for it."""

    LOBBY_STREAM = "lobby_stream", "Lobby stream"
    GM_REST = "gm_rest", "Game Master"
    ADMIN_REST = "admin_rest", "Admin service"
    ADMIN_CONSOLE = "admin_console", "admin console"
    AUTO_TTL = "auto_ttl", "retention"
    AUTO_RECONCILE = "auto_reconcile", "reconciler"


REST_SOURCES = frozenset({OperationSource.GM_REST, OperationSource.ADMIN_REST})


class OperationState(models.TextChoices):
    """Accepted and waiting, running under a lease, or finished with an outcome."""

    ACCEPTED = "accepted", "accepted"
    RUNNING = "running", "running"
    FINISHED = "finished", "finished"


OPEN_STATES = (OperationState.ACCEPTED, OperationState.RUNNING)


class Outcome(models.TextChoices):
    """How an operation ended."""

    SUCCESS = "success", "success"
    FAILURE = "failure", "failure"


class StopReason(models.TextChoices):
    """Why a game is stopped; the closed list of the wire contract."""

    ORPHAN_CLEANUP = "orphan_cleanup", "orphan cleanup"
    CANCELLED = "cancelled", "cancelled"
    FINISHED = "finished", "finished"
    ADMIN_REQUEST = "admin_request", "admin request"
    TIMEOUT = "timeout", "timeout"


class ExitCause(models.TextChoices):
    """How the container ended whose exit report it is."""

    EXITED = "exited", "exited or was killed"
    OOM = "oom", "out of memory"
    CRASH_AT_START = "crash_at_start", "crashed at its start"
    DISAPPEARED = "disappeared", "disappeared"
    REPLACED = "replaced", "replaced while unhealthy"
    STOPPED = "stopped", "stopped on request"
    REMOVED = "removed", "removed after a failed operation"


class Topic(models.TextChoices):
    """The kinds of messages that RTM publishes; settings map each to the name of its stream."""

    JOB_RESULTS = "job_results", "job results"
    HEALTH_EVENTS = "health_events", "health events"
    NOTIFICATION_INTENTS = "notification_intents", "notification intents"
    DEAD_LETTERS = "dead_letters", "dead letters"

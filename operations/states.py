"""The words of an operation: its kinds, sources, states and outcomes."""

from django.db import models


class OpKind(models.TextChoices):
    """What is done to a runtime."""

    START = "start", "start"
    STOP = "stop", "stop"
    RESTART = "restart", "restart"
    PATCH = "patch", "patch"
    CLEANUP_CONTAINER = "cleanup_container", "cleanup container"
    RECONCILE_ADOPT = "reconcile_adopt", "reconcile: adopt"
    RECONCILE_DISPOSE = "reconcile_dispose", "reconcile: dispose"
    RECONCILE_EXIT = "reconcile_exit", "reconcile: observed exit"


class OpSource(models.TextChoices):
    """Who asked for it."""

    LOBBY_STREAM = "lobby_stream", "Lobby stream"
    GM_REST = "gm_rest", "Game Master"
    ADMIN_REST = "admin_rest", "Admin service"
    ADMIN_CONSOLE = "admin_console", "admin console"
    AUTO_TTL = "auto_ttl", "retention"
    AUTO_RECONCILE = "auto_reconcile", "reconciler"


REST_SOURCES = frozenset({OpSource.GM_REST, OpSource.ADMIN_REST})


class OpState(models.TextChoices):
    """Where an operation is: recorded, being acted on under a lease, or ended with an outcome."""

    ACCEPTED = "accepted", "accepted"
    RUNNING = "running", "running"
    FINISHED = "finished", "finished"


OPEN_STATES = (OpState.ACCEPTED, OpState.RUNNING)


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


class BoxCause(models.TextChoices):
    """How the container ended whose black box it is."""

    EXITED = "exited", "ended by itself or was killed"
    OOM = "oom", "out of memory"
    CRASH_AT_START = "crash_at_start", "crashed at its start"
    DISAPPEARED = "disappeared", "disappeared"
    REPLACED = "replaced", "replaced while unwell"
    STOPPED = "stopped", "stopped as asked"
    REMOVED = "removed", "taken back"


class Topic(models.TextChoices):
    """The kinds of message RTM publishes; settings map each to the name of its stream."""

    JOB_RESULTS = "job_results", "job results"
    HEALTH_EVENTS = "health_events", "health events"
    NOTIFICATION_INTENTS = "notification_intents", "notification intents"
    DEAD_LETTERS = "dead_letters", "dead letters"

"""Docker away, told once by each process that meets it, however many games wait; and once when it is over."""

import threading

import structlog

from operations.attempts import Attempt

log = structlog.get_logger(__name__)

_lock = threading.Lock()
_is_away = False


def docker_away(reason: str) -> None:
    """Docker did not answer."""
    global _is_away  # noqa: PLW0603 - one Docker engine, one process, one truth about it
    with _lock:
        if not _is_away:
            log.warning("docker_not_reached", reason=reason)
        _is_away = True


def docker_answered(attempt: Attempt) -> None:
    """An attempt has come to its end. Nothing follows from one that asked Docker nothing."""
    global _is_away  # noqa: PLW0603 - as above
    if attempt.timeline.steps == attempt.operation.steps:
        return
    with _lock:
        if _is_away:
            log.info("docker_reached_again")
        _is_away = False

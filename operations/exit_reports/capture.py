"""Capture of exit reports: what Docker and the database know of a container that has exited.

A capture is best effort: it takes at most CAPTURE_SECONDS, and no failure in it changes the result of the operation.
The report is stored at once, not at the end of the operation. A worker that dies between removal and completion would
otherwise lose it. Each exit has one report, so a repeated attempt adds nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

import structlog
from django.db import DatabaseError, InterfaceError
from django.db.models import F, Window
from django.db.models.functions import RowNumber

from operations.execution.attempt import Attempt
from operations.exit_reports import contents
from operations.messages import epoch_ms
from operations.models import ExitReport
from operations.queue.database import database_now
from operations.states import ExitCause
from runtimes.container_spec import LABEL_IMAGE_REF
from runtimes.containers.base import Container, ContainerState, ContainersUnavailableError, DockerPort
from runtimes.containers.exit_causes import was_oom_killed
from runtimes.exceptions import RuntimeManagerError
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus

log = structlog.get_logger(__name__)

CAPTURE_SECONDS = 1.8
LOG_LINES = 200
KEPT_PER_GAME = 20
_MAX_DELETED = 5000
_CAPTURED_FIELDS = ["log", "inspect", "limits", "image_id", "image_digest", "note", "captured_at"]
# Docker returned JSON of another shape, or the capture has a bug. Neither must fail the operation.
_DEFECTS = (AttributeError, LookupError, TypeError, ValueError)
T = TypeVar("T")


class _Collected:
    """What Docker returned about a container, and the errors of the calls that failed."""

    def __init__(self, containers: DockerPort, container_id: str) -> None:
        self.errors: list[str] = []
        self.is_docker_unavailable = False
        with containers.time_limit(CAPTURE_SECONDS):
            self.details = details = self._call(lambda: containers.inspect(container_id))
            self.lines = self._call(lambda: containers.logs(container_id, tail=LOG_LINES)) or []
            self.image = self._call(lambda: containers.find_image(details.container.image_id)) if details else None

    def _call(self, query: Callable[[], T]) -> T | None:
        """Return the result, or None and note the error. Once Docker is unavailable, it gets no further call."""
        if self.is_docker_unavailable:
            return None
        try:
            return query()
        except RuntimeManagerError as error:
            self.is_docker_unavailable = isinstance(error, ContainersUnavailableError)
            self.errors.append(error.message)
        return None


def capture(attempt: Attempt, container_id: str, cause: ExitCause, *, seen: Container | None = None) -> None:
    """Store a report of a container of the game. Idempotent per exit; calls Docker only if the report is incomplete.

    Replaces the cause EXITED by OOM if the container ran out of memory.
    """
    with _best_effort(attempt, container_id):
        if seen is None or seen.is_alive or not _is_complete(seen.id, _exit_key(seen)):
            _store(_report(attempt, container_id, cause, seen=seen))


def capture_missing(attempt: Attempt, record: Runtime) -> None:
    """Store a report of a container that is gone, from the database alone. Idempotent."""
    container_id = record.current_container_id or ""
    with _best_effort(attempt, container_id):
        snapshot = contents.health_snapshot(attempt.game_id, container_id)
        report = _new_report(attempt, container_id, ExitCause.DISAPPEARED)
        report.exit_key = "disappeared"
        report.occurred_at = database_now()
        report.exit_code = snapshot.exit_code if snapshot else None
        report.image_ref, report.image_id = record.current_image_ref or "", record.image_id
        report.note = "the container was already gone, so its log is not available"
        _store(report)


def capture_before_removal(attempt: Attempt, seen: Container) -> None:
    """Store a report of a container that the operation removes next. ``seen``: its state before it was stopped.

    Replacing a healthy game stores no report, so a plain restart or patch makes no further Docker call.
    """
    record = attempt.runtime
    if seen.state == ContainerState.CREATED:
        # It never ran.
        return
    if attempt.has_created(seen):
        capture(attempt, seen.id, ExitCause.REMOVED if seen.is_alive else ExitCause.CRASH_AT_START, seen=seen)
    elif record is None or record.status != RuntimeStatus.RUNNING:
        capture(attempt, seen.id, ExitCause.STOPPED, seen=seen)
    elif not seen.is_alive or contents.is_unhealthy(attempt.game_id, seen.id):
        capture(attempt, seen.id, ExitCause.REPLACED, seen=seen)


def prune() -> int:
    """Delete all but the newest KEPT_PER_GAME reports of each game; return how many. Idempotent, bounded per call."""
    age = Window(RowNumber(), partition_by=[F("game_id")], order_by=[F("id").desc()])
    surplus = ExitReport.objects.order_by().annotate(age=age).filter(age__gt=KEPT_PER_GAME)
    ids = list(surplus.values_list("pk", flat=True)[:_MAX_DELETED])
    deleted, _by_model = ExitReport.objects.filter(pk__in=ids).delete()
    return deleted


@contextmanager
def _best_effort(attempt: Attempt, container_id: str) -> Iterator[None]:
    with attempt.step("exit_report"):
        try:
            yield
        except (RuntimeManagerError, DatabaseError, InterfaceError) as error:
            log.warning("exit_report_not_kept", container_id=container_id, reason=str(error).strip())
        except _DEFECTS:
            log.exception("exit_report_not_kept", container_id=container_id)


def _report(attempt: Attempt, container_id: str, cause: ExitCause, *, seen: Container | None) -> ExitReport:
    collected = _Collected(attempt.containers, container_id)
    details = collected.details
    container = details.container if details else seen
    if container is None and collected.is_docker_unavailable:
        # The removal of the container fails for the same reason, so the operation tries again.
        raise ContainersUnavailableError(collected.errors[0])
    report = _new_report(attempt, container_id, cause)
    report.exit_key = _exit_key(container)
    report.occurred_at = _exited_at(container) or database_now()
    report.note = "; ".join(collected.errors)
    report.log = contents.log_lines(collected.lines)
    if details is not None:
        report.limits, report.inspect = contents.sanitize(details.limits), contents.inspection(details.raw)
    if collected.image is not None:
        report.image_digest = collected.image.digest
    if container is None:
        report.image_ref = str(attempt.operation.arguments.get("image_ref", ""))
        return report
    if cause == ExitCause.EXITED and was_oom_killed(container):
        report.cause = ExitCause.OOM
    report.exit_code = None if container.is_alive else container.exit_code
    report.oom_killed = container.oom_killed
    report.image_id = container.image_id
    report.image_ref = container.labels.get(LABEL_IMAGE_REF) or container.image_ref
    return report


def _new_report(attempt: Attempt, container_id: str, cause: ExitCause) -> ExitReport:
    probes = contents.health_history(attempt.game_id, container_id)
    return ExitReport(
        game_id=attempt.game_id, container_id=container_id, operation=attempt.operation, cause=cause, probes=probes
    )


def _store(report: ExitReport) -> None:
    if report.inspect:
        # A complete report replaces the captured fields of an incomplete one; operation and cause stay.
        ExitReport.objects.bulk_create(
            [report], update_conflicts=True, unique_fields=["container_id", "exit_key"], update_fields=_CAPTURED_FIELDS
        )
    else:
        ExitReport.objects.bulk_create([report], ignore_conflicts=True)
    kept = {"container_id": report.container_id, "cause": str(report.cause)}
    log.info("exit_report_kept", **kept, lines=len(report.log), note=report.note)


def _is_complete(container_id: str, exit_key: str) -> bool:
    return ExitReport.objects.filter(container_id=container_id, exit_key=exit_key, note="").exists()


def _exit_key(container: Container | None) -> str:
    """Identifies this exit among those of the container: its time, or "unknown" if Docker reports none."""
    exited_at = _exited_at(container)
    return f"ended:{epoch_ms(exited_at)}" if exited_at else "unknown"


def _exited_at(container: Container | None) -> datetime | None:
    return container.finished_at if container is not None and not container.is_alive else None

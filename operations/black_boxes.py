"""Black boxes: what is kept of a container that has ended, taken before it goes and kept past it.

Taking one is best effort: it lasts CAPTURE_SECONDS at most, and no trouble in it changes what the operation does. A box
is written at once, not with the end of the operation: a worker that dies between the removal of a container and
that end would take the only evidence with it. One end is one box, so an attempt entered again adds nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import structlog
from django.db import DatabaseError, InterfaceError
from django.db.models import F, Window
from django.db.models.functions import RowNumber

from operations import evidence
from operations.attempts import Attempt
from operations.clock import database_now
from operations.events import epoch_ms
from operations.models import BlackBox
from operations.states import BoxCause
from runtimes.containers.base import Container, ContainerDetails, ContainerState, ContainersUnavailableError, Image
from runtimes.containers.telemetry import LogLine
from runtimes.exceptions import RuntimeManagerError
from runtimes.health import ran_out_of_memory
from runtimes.models import Runtime
from runtimes.specs import LABEL_IMAGE_REF
from runtimes.states import RuntimeStatus

log = structlog.get_logger(__name__)

CAPTURE_SECONDS = 1.8
LOG_LINES = 200
KEPT_PER_GAME = 20
_GONE = "disappeared"
_DELETED_AT_ONCE = 5000
_SEEN = ["log", "inspect", "limits", "image_id", "image_digest", "note", "captured_at"]
_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class _Finds:
    """What Docker still tells of a container, and why it does not tell the rest."""

    details: ContainerDetails | None = None
    lines: list[LogLine] = field(default_factory=list)
    image: Image | None = None
    troubles: list[str] = field(default_factory=list)
    is_away: bool = False

    def ask(self, question: Callable[[], _Answer]) -> _Answer | None:
        """The answer, or None and a trouble more. An engine that is away is not asked again."""
        if self.is_away:
            return None
        try:
            return question()
        except RuntimeManagerError as error:
            self.is_away = isinstance(error, ContainersUnavailableError)
            self.troubles.append(error.message)
        return None


def capture(attempt: Attempt, container_id: str, cause: BoxCause, *, seen: Container | None = None) -> None:
    """Keep what can be had of a container of the game. Idempotent per end; asks Docker only for an end without a box.

    ``cause`` EXITED becomes OOM where that is what happened.
    """
    with _best_effort(attempt, container_id):
        if seen is None or seen.is_alive or not _is_kept(seen.id, _occurrence(seen)):
            _keep(_box(attempt, container_id, cause, seen=seen))


def capture_lost(attempt: Attempt, record: Runtime) -> None:
    """Keep what is on record of a container that has gone, its log with it. Idempotent; Docker is not asked."""
    container_id = record.current_container_id or ""
    with _best_effort(attempt, container_id):
        snapshot = evidence.snapshot_of(attempt.game_id, container_id)
        box = BlackBox(
            **_whose(attempt, container_id, BoxCause.DISAPPEARED),
            occurrence=_GONE,
            occurred_at=database_now(),
            exit_code=snapshot.exit_code if snapshot else None,
            image_ref=record.current_image_ref or "",
            image_id=record.image_id,
            note="the container was gone before anybody looked, and its log with it",
        )
        _keep(box)


def capture_before_removal(attempt: Attempt, seen: Container) -> None:
    """Keep what goes with a container that is removed next. ``seen`` is the look before it was stopped.

    A healthy game that is replaced leaves nothing: a plain restart or patch asks Docker no more than it must.
    """
    record = attempt.runtime
    # One that never ran has nothing to tell.
    if seen.state == ContainerState.CREATED:
        return
    if attempt.made(seen):
        capture(attempt, seen.id, BoxCause.REMOVED if seen.is_alive else BoxCause.CRASH_AT_START, seen=seen)
    elif record is None or record.status != RuntimeStatus.RUNNING:
        capture(attempt, seen.id, BoxCause.STOPPED, seen=seen)
    elif not seen.is_alive or evidence.is_unwell(attempt.game_id, seen.id):
        capture(attempt, seen.id, BoxCause.REPLACED, seen=seen)


def forget_oldest() -> int:
    """Delete all but the newest KEPT_PER_GAME of each game; returns how many. Idempotent, bounded per call."""
    age = Window(RowNumber(), partition_by=[F("game_id")], order_by=[F("id").desc()])
    surplus = BlackBox.objects.order_by().annotate(age=age).filter(age__gt=KEPT_PER_GAME)
    ids = list(surplus.values_list("pk", flat=True)[:_DELETED_AT_ONCE])
    deleted, _by_model = BlackBox.objects.filter(pk__in=ids).delete()
    return deleted


@contextmanager
def _best_effort(attempt: Attempt, container_id: str) -> Iterator[None]:
    with attempt.step("black_box"):
        try:
            yield
        except (RuntimeManagerError, DatabaseError, InterfaceError) as error:
            log.warning("black_box_not_kept", container_id=container_id, reason=str(error).strip())
        except Exception:  # a defect in keeping evidence must not fail what the evidence is about
            log.exception("black_box_not_kept", container_id=container_id)


def _box(attempt: Attempt, container_id: str, cause: BoxCause, *, seen: Container | None) -> BlackBox:
    finds = _look(attempt, container_id)
    end = finds.details.container if finds.details else seen
    if end is None and finds.is_away:
        # Whoever wants it removed has the same trouble, and comes again.
        raise ContainersUnavailableError(finds.troubles[0])
    if cause == BoxCause.EXITED and end is not None and ran_out_of_memory(end):
        cause = BoxCause.OOM
    has_ended = end is not None and not end.is_alive
    return BlackBox(
        **_whose(attempt, container_id, cause),
        occurrence=_occurrence(end),
        occurred_at=_ended_at(end) or database_now(),
        exit_code=end.exit_code if end is not None and has_ended else None,
        oom_killed=end.oom_killed if end is not None else False,
        image_ref=_image_ref(attempt, end),
        image_id=end.image_id if end is not None else "",
        image_digest=finds.image.digest if finds.image else "",
        note="; ".join(finds.troubles),
        limits=evidence.fit(finds.details.limits) if finds.details else {},
        log=evidence.log_of(finds.lines),
        inspect=evidence.inspection_of(finds.details.raw) if finds.details else {},
    )


def _whose(attempt: Attempt, container_id: str, cause: BoxCause) -> dict[str, Any]:
    return {
        "game_id": attempt.game_id,
        "container_id": container_id,
        "operation": attempt.operation,
        "cause": cause,
        "probes": evidence.probes_of(attempt.game_id, container_id),
    }


def _look(attempt: Attempt, container_id: str) -> _Finds:
    finds, containers = _Finds(), attempt.containers
    with containers.within(CAPTURE_SECONDS):
        finds.details = finds.ask(lambda: containers.details(container_id))
        finds.lines = list(finds.ask(lambda: containers.logs(container_id, tail=LOG_LINES)) or [])
        if finds.details is not None:
            image_id = finds.details.container.image_id
            finds.image = finds.ask(lambda: containers.find_image(image_id))
    return finds


def _keep(box: BlackBox) -> None:
    if box.inspect:
        # A look at the same end that saw less makes room for this one; who took it and why stays.
        BlackBox.objects.bulk_create(
            [box], update_conflicts=True, unique_fields=["container_id", "occurrence"], update_fields=_SEEN
        )
    else:
        BlackBox.objects.bulk_create([box], ignore_conflicts=True)
    log.info("black_box_kept", container_id=box.container_id, cause=str(box.cause), lines=len(box.log), note=box.note)


def _is_kept(container_id: str, occurrence: str) -> bool:
    return BlackBox.objects.filter(container_id=container_id, occurrence=occurrence, note="").exists()


def _occurrence(end: Container | None) -> str:
    """What tells this end from others of the container: its time; none, where it never ran or does not say."""
    ended_at = _ended_at(end)
    return f"ended:{epoch_ms(ended_at)}" if ended_at else "unknown"


def _ended_at(end: Container | None) -> datetime | None:
    return end.finished_at if end is not None and not end.is_alive else None


def _image_ref(attempt: Attempt, end: Container | None) -> str:
    if end is not None:
        return end.labels.get(LABEL_IMAGE_REF) or end.image_ref
    return str(attempt.operation.arguments.get("image_ref", ""))

"""A database restored from a backup: how RTM detects it, and which differences it does not report.

A restored database is older than Docker. Its sequences would issue operation ids and fences a second time, and its
records name containers that RTM itself has replaced or removed since.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from operations.models import OutboxEvent
from operations.outbox import DEDUPE_KEPT
from operations.queue.database import database_now
from runtimes.containers.base import Container
from runtimes.models import Installation, Runtime

log = structlog.get_logger(__name__)

# The gap above the highest number that Docker shows. The newest operations may have no container.
FENCE_GAP = 1_000_000
OPERATION_ID_GAP = 10_000
# No installation issues more numbers between two backups. A label beyond that was written by hand.
_LONGEST_JUMP = 10**9
_FENCES = "operations_fence_seq"
_ID_SEQUENCE = "SELECT pg_get_serial_sequence('operations_operation', 'id')"


@dataclass(frozen=True, slots=True)
class Restore:
    """A detected or declared restore: the next numbers, and how many messages count as published."""

    at: datetime
    next_fence: int
    next_operation_id: int
    taken_as_published: int


def notice(containers: Iterable[Container], *, known_fence: int) -> Restore | None:
    """Declare a restore if a managed container has a fence that this database has not issued yet.

    ``known_fence`` is the highest recorded fence. If no container exceeds it, no query is needed.
    """
    newer = [container for container in containers if container.fence > known_fence]
    issued = _last_value(_FENCES) if newer else 0
    beyond = [container for container in newer if issued < container.fence <= issued + _LONGEST_JUMP]
    return declare(beyond, proof=min(beyond, key=lambda container: container.id)) if beyond else None


def declare(containers: Iterable[Container], *, proof: Container | None = None) -> Restore | None:
    """Record that the database was restored: advance its sequences beyond all numbers on these containers.

    With a ``proof`` this happens once: returns None if another process has done it already.
    """
    seen = list(containers)
    with transaction.atomic():
        Installation.load()
        installation = Installation.objects.select_for_update().get()
        if proof is not None and proof.fence <= _last_value(_FENCES):
            return None
        restore = Restore(
            at=database_now(),
            next_fence=_advance(_FENCES, (container.fence for container in seen), gap=FENCE_GAP),
            next_operation_id=_advance(_query(_ID_SEQUENCE), map(_operation_id, seen), gap=OPERATION_ID_GAP),
            taken_as_published=_mark_published(),
        )
        installation.restored_at, installation.settled_at = restore.at, None
        installation.save(update_fields=["restored_at", "settled_at"])
    log.warning(
        "database_restored",
        container_id=proof.id if proof else "",
        game_id=proof.game_id if proof else "",
        next_fence=restore.next_fence,
        next_operation_id=restore.next_operation_id,
        taken_as_published=restore.taken_as_published,
    )
    return restore


def restored_at() -> datetime | None:
    """The time of the restore; None once all records have been compared with Docker."""
    unsettled = Installation.objects.filter(restored_at__isnull=False, settled_at__isnull=True)
    return unsettled.values_list("restored_at", flat=True).first()


def settle(*, busy: Collection[str]) -> None:
    """End the restore after a full reconcile, unless a ``busy`` game still has a record from the backup.

    From then on every difference is reported again.
    """
    restored = restored_at()
    if restored is None or Runtime.objects.filter(game_id__in=busy, last_op_at__lt=restored).exists():
        return
    Installation.objects.filter(restored_at=restored).update(settled_at=Now())


def was_before(moment: datetime) -> bool:
    """Whether this time is before the last restore."""
    return Installation.objects.filter(restored_at__gt=moment).exists()


def is_from_before(record: Runtime, restored: datetime | None) -> bool:
    """Whether the record comes from the backup."""
    return restored is not None and record.last_op_at < restored


def _mark_published() -> int:
    """Mark the unpublished messages that are too old for Redis to remember. They were published before the restore."""
    waiting = OutboxEvent.objects.filter(published_at__isnull=True, created_at__lt=Now() - DEDUPE_KEPT)
    return waiting.update(published_at=F("created_at"))


def _operation_id(container: Container) -> int:
    text = container.operation_id
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(_LONGEST_JUMP)) + 3 else 0


def _advance(sequence: str, seen: Iterable[int], *, gap: int) -> int:
    """Advance the sequence beyond all numbers seen, plus the gap. A number that was written by hand has no effect."""
    last = _last_value(sequence)
    reached = max([last, *(number for number in seen if number <= last + _LONGEST_JUMP)])
    return int(_query("SELECT setval(%s::regclass, %s)", sequence, reached + gap)) + 1


def _last_value(sequence: str) -> int:
    return int(_query(f"SELECT last_value FROM {sequence}"))  # noqa: S608 - a constant sequence name


def _query(sql: str, *params: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()[0]

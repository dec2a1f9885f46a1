"""What is seen of a container's health: put on record and queued to be told, in one transaction.

Nothing here changes the status of a runtime; that is for operations alone. An observation counts only while the
record says that this very container is running, and what a look or a probe finds while an operation works on the
game is that operation's doing and is not told.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from operations import outbox
from operations.events import HealthEvent, HealthEventType, health_event_fields
from operations.models import Operation
from operations.outbox import Message
from operations.states import OPEN_STATES, Topic
from runtimes.models import HealthSnapshot, Runtime
from runtimes.states import RuntimeStatus

log = structlog.get_logger(__name__)

# Rows locked at a time: few enough not to keep operations waiting, enough for ten thousand games in seconds.
_BATCH = 200
# A container whose processes are killed again and again tells so once in this time.
_OOM_WINDOW_NS = 60 * 10**9

_COLUMNS = [one.attname for one in HealthSnapshot._meta.concrete_fields if not one.primary_key]  # noqa: SLF001 - Django's public name for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One observation: what to write into the snapshot, and the event if it is worth one.

    ``expected`` is what the observer took the snapshot for, a missing one having the defaults: when it says
    something else by now, somebody else was faster and the report is dropped.
    """

    game_id: str
    container_id: str
    observed: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    event: HealthEvent | None = None

    @property
    def counts_during_operations(self) -> bool:
        """No operation makes the kernel kill a process; all else may well be an operation's doing."""
        return self.event is not None and self.event.event_type == HealthEventType.CONTAINER_OOM

    def fits(self, snapshot: HealthSnapshot) -> bool:
        """Whether the snapshot is what the observer took it for."""
        return all(getattr(snapshot, name) == value for name, value in self.expected.items())


def report(game_id: str, event: HealthEvent) -> bool:
    """Put one event on record and queue it; False when it was suppressed. Idempotent by the event's dedupe key."""
    return report_all([Report(game_id=game_id, container_id=event.container_id, event=event)])[0]


def report_all(reports: Iterable[Report]) -> list[bool]:
    """Write observations, many in one transaction; returns for each whether it counted."""
    remaining = iter(reports)
    counted: list[bool] = []
    while batch := list(islice(remaining, _BATCH)):
        counted += _write(batch)
    return counted


def report_oom(game_id: str, container_id: str, *, at_ns: int) -> bool:
    """The kernel killed a process of a container that lives on: there is no exit code to tell but 0. Idempotent."""
    at = datetime.fromtimestamp(at_ns / 10**9, tz=UTC)
    occurrence = f"alive:{at_ns // _OOM_WINDOW_NS}"
    counted = report(
        game_id, HealthEvent(HealthEventType.CONTAINER_OOM, container_id, at, {"exit_code": 0}, occurrence)
    )
    if counted:
        log.warning("container_starved", game_id=game_id, container_id=container_id)
    return counted


def snapshot_after(game_id: str, events: Sequence[HealthEvent]) -> HealthSnapshot | None:
    """The snapshot with the last of an operation's own events in it, to be stored with the operation's end; None when
    there was none.
    """
    if not events:
        return None
    # A container that was just started is a new one: nothing is known of it.
    is_new = events[-1].event_type == HealthEventType.CONTAINER_STARTED
    known = None if is_new else HealthSnapshot.objects.filter(pk=game_id).first()
    snapshot = _about(known, game_id=game_id, container_id=events[-1].container_id)
    _enter(snapshot, events[-1])
    return snapshot


def health_message(game_id: str, event: HealthEvent) -> Message:
    """The event as it is queued for the stream."""
    return Message(Topic.HEALTH_EVENTS, event.dedupe_key, game_id, health_event_fields(game_id, event))


def watched_games() -> QuerySet[Runtime]:
    """The games whose health is watched: recorded as running, and no operation has them in hand."""
    open_operations = Operation.objects.filter(game_id=OuterRef("game_id"), state__in=OPEN_STATES)
    return Runtime.objects.filter(~Exists(open_operations), status=RuntimeStatus.RUNNING)


def _write(reports: Sequence[Report]) -> list[bool]:
    game_ids = {one.game_id for one in reports}
    with transaction.atomic():
        running = _locked_running(game_ids)
        busy = set(
            Operation.objects.filter(game_id__in=game_ids, state__in=OPEN_STATES).values_list("game_id", flat=True)
        )
        snapshots = HealthSnapshot.objects.in_bulk(game_ids)

        def counts(one: Report) -> bool:
            if running.get(one.game_id) != one.container_id:
                return False
            if one.game_id in busy and not one.counts_during_operations:
                return False
            snapshot = _about(snapshots.get(one.game_id), game_id=one.game_id, container_id=one.container_id)
            if not one.fits(snapshot):
                return False
            snapshots[one.game_id] = _merge(snapshot, one)
            return True

        counted = [counts(one) for one in reports]
        counting = [one for one, does_count in zip(reports, counted, strict=True) if does_count]
        _save(snapshots[game_id] for game_id in {one.game_id for one in counting})
        outbox.queue([health_message(one.game_id, one.event) for one in counting if one.event])
    return counted


def _locked_running(game_ids: Collection[str]) -> dict[str, str | None]:
    """Game → container of those that run. An operation that ends waits until we are through, as we did for it."""
    rows = Runtime.objects.select_for_update(no_key=True).filter(pk__in=game_ids, status=RuntimeStatus.RUNNING)
    # Always in this order: two reporters then never wait for each other.
    return dict(rows.order_by("pk").values_list("pk", "current_container_id"))


def _about(known: HealthSnapshot | None, *, game_id: str, container_id: str) -> HealthSnapshot:
    """The snapshot if it is about this container, else a new one: nothing of a former container is true of it."""
    if known is not None and known.container_id == container_id:
        return known
    now = timezone.now()
    return HealthSnapshot(runtime_id=game_id, container_id=container_id, occurred_at=now, observed_at=now)


def _merge(snapshot: HealthSnapshot, one: Report) -> HealthSnapshot:
    for name, value in one.observed.items():
        setattr(snapshot, name, value)
    if one.event is not None:
        _enter(snapshot, one.event)
    return snapshot


def _enter(snapshot: HealthSnapshot, event: HealthEvent) -> None:
    snapshot.event_type = event.event_type
    snapshot.details = dict(event.details)
    snapshot.occurred_at = event.occurred_at
    snapshot.observed_at = timezone.now()
    if event.event_type == HealthEventType.CONTAINER_EXITED:
        snapshot.exit_code = event.details["exit_code"]


def _save(snapshots: Iterable[HealthSnapshot]) -> None:
    HealthSnapshot.objects.bulk_create(
        snapshots, update_conflicts=True, unique_fields=["runtime"], update_fields=_COLUMNS
    )

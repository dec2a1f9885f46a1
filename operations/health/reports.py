"""Health observations: stored in the snapshot and queued as events, in one transaction.

Only operations change the status of a runtime. An observation counts only while the record says that this container
is running. During an operation on the game, inspections and probes are not reported: the operation causes them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import compress
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from operations import outbox
from operations.messages import HealthEvent, HealthEventType, health_event_fields
from operations.models import Operation
from operations.outbox import Message
from operations.states import OPEN_STATES, Topic
from runtimes.models import HealthSnapshot, Runtime
from runtimes.states import RuntimeStatus

log = structlog.get_logger(__name__)

# Rows locked at a time. Operations do not wait long, and ten thousand games take seconds.
_BATCH = 200
# A container whose processes are killed repeatedly is reported once per window.
_OOM_WINDOW_NS = 60 * 10**9

_COLUMNS = [column.attname for column in HealthSnapshot._meta.concrete_fields if not column.primary_key]  # noqa: SLF001 - documented by Django


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One observation: the values for the snapshot, and an event if there is one.

    ``expected``: the values of the snapshot when the observer read it (defaults if there was none). If the snapshot has
    other values now, another process was faster and the report is dropped.
    """

    game_id: str
    container_id: str
    observed: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    event: HealthEvent | None = None

    @property
    def counts_during_operations(self) -> bool:
        """No operation makes the kernel kill a process. An operation may cause any other observation."""
        return self.event is not None and self.event.event_type == HealthEventType.CONTAINER_OOM


def report(game_id: str, event: HealthEvent) -> bool:
    """Store one event and queue it; return False if it does not count. Idempotent by the dedupe key of the event."""
    return report_all([Report(game_id=game_id, container_id=event.container_id, event=event)])[0]


def report_all(reports: Iterable[Report]) -> list[bool]:
    """Write observations, up to 200 in one transaction; return for each whether it counted."""
    remaining, counted = list(reports), list[bool]()
    for start in range(0, len(remaining), _BATCH):
        counted += _write(remaining[start : start + _BATCH])
    return counted


def report_oom(game_id: str, container_id: str, *, at_ns: int) -> bool:
    """Report that the kernel killed a process of a container that still runs. Its exit code is 0. Idempotent."""
    at = datetime.fromtimestamp(at_ns / 10**9, tz=UTC)
    exit_key = f"alive:{at_ns // _OOM_WINDOW_NS}"
    counted = report(game_id, HealthEvent(HealthEventType.CONTAINER_OOM, container_id, at, {"exit_code": 0}, exit_key))
    if counted:
        log.warning("container_process_oom_killed", game_id=game_id, container_id=container_id)
    return counted


def snapshot_after(game_id: str, events: Sequence[HealthEvent]) -> HealthSnapshot | None:
    """Return the snapshot after the last event of an operation, to store with its completion; None without events."""
    if not events:
        return None
    # A container that was just started is new: no earlier observation is about it.
    is_new = events[-1].event_type == HealthEventType.CONTAINER_STARTED
    known = None if is_new else HealthSnapshot.objects.filter(pk=game_id).first()
    snapshot = _about(known, game_id=game_id, container_id=events[-1].container_id)
    _enter(snapshot, events[-1])
    return snapshot


def health_message(game_id: str, event: HealthEvent) -> Message:
    """The event as a message for the stream."""
    return Message(Topic.HEALTH_EVENTS, event.dedupe_key, game_id, health_event_fields(game_id, event))


def watched_games() -> QuerySet[Runtime]:
    """The games whose health is watched: recorded as running, without an open operation."""
    open_operations = Operation.objects.filter(game_id=OuterRef("game_id"), state__in=OPEN_STATES)
    return Runtime.objects.filter(~Exists(open_operations), status=RuntimeStatus.RUNNING)


def _write(reports: Sequence[Report]) -> list[bool]:
    game_ids = {item.game_id for item in reports}
    counted: list[bool] = []
    with transaction.atomic():
        running = _locked_running(game_ids)
        open_operations = Operation.objects.filter(game_id__in=game_ids, state__in=OPEN_STATES)
        busy = set(open_operations.values_list("game_id", flat=True))
        snapshots = HealthSnapshot.objects.in_bulk(game_ids)
        for item in reports:
            snapshot = _about(snapshots.get(item.game_id), game_id=item.game_id, container_id=item.container_id)
            counts = (
                running.get(item.game_id) == item.container_id
                and (item.game_id not in busy or item.counts_during_operations)
                and all(getattr(snapshot, name) == value for name, value in item.expected.items())
            )
            if counts:
                snapshots[item.game_id] = _merge(snapshot, item)
            counted.append(counts)
        counting = list(compress(reports, counted))
        HealthSnapshot.objects.bulk_create(
            [snapshots[game_id] for game_id in {item.game_id for item in counting}],
            update_conflicts=True,
            unique_fields=["runtime"],
            update_fields=_COLUMNS,
        )
        outbox.queue([health_message(item.game_id, item.event) for item in counting if item.event])
    return counted


def _locked_running(game_ids: Collection[str]) -> dict[str, str | None]:
    """Lock the running games; return game → container. An operation that completes waits for this transaction."""
    rows = Runtime.objects.select_for_update(no_key=True).filter(pk__in=game_ids, status=RuntimeStatus.RUNNING)
    # The fixed order avoids deadlocks between two reporters.
    return dict(rows.order_by("pk").values_list("pk", "current_container_id"))


def _about(known: HealthSnapshot | None, *, game_id: str, container_id: str) -> HealthSnapshot:
    """The snapshot if it is about this container, else a new one."""
    if known is not None and known.container_id == container_id:
        return known
    now = timezone.now()
    return HealthSnapshot(runtime_id=game_id, container_id=container_id, occurred_at=now, observed_at=now)


def _merge(snapshot: HealthSnapshot, item: Report) -> HealthSnapshot:
    for name, value in item.observed.items():
        setattr(snapshot, name, value)
    if item.event is not None:
        _enter(snapshot, item.event)
    return snapshot


def _enter(snapshot: HealthSnapshot, event: HealthEvent) -> None:
    snapshot.event_type = event.event_type
    snapshot.details = dict(event.details)
    snapshot.occurred_at = event.occurred_at
    snapshot.observed_at = timezone.now()
    if event.event_type == HealthEventType.CONTAINER_EXITED:
        snapshot.exit_code = event.details["exit_code"]

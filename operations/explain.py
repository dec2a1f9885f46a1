"""Why a game is as it is, what to do, and what happens by itself: one answer for API, console and command line. Pure.

``operations.gathering`` looks, ``operations.diagnosis`` decides, ``operations.explain_text`` writes it for a terminal.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from operations.diagnosis.facts import Desired, Facts, current_step
from operations.diagnosis.refusals import refusals
from operations.diagnosis.table import apart_from_servers, diagnose
from operations.diagnosis.verdicts import Cause, NextAutomatic, NextStep, Severity, Verdict
from operations.diagnosis.words import one_line, short
from operations.models import Operation, OutboxEvent
from operations.states import OpState
from runtimes.specs import LABEL_IMAGE_REF
from runtimes.states import RuntimeStatus

RECORD_FIELDS = (
    "game_id", "status", "current_container_id", "current_image_ref", "engine_endpoint", "state_path",
    "docker_network", "started_at", "stopped_at", "removed_at", "last_op_at", "created_at",
)  # fmt: skip
OPERATION_FIELDS = (
    "id", "game_id", "op_kind", "op_source", "source_ref", "image_ref", "container_id", "state", "outcome",
    "error_code", "error_message", "steps", "accepted_at", "started_at", "finished_at",
)  # fmt: skip
# What is known of an operation only while it is open.
OPEN_FIELDS = ("attempt", "deferrals", "not_before", "lease_until", "claimed_by", "awaits_image")
SNAPSHOT_FIELDS = (
    "container_id", "event_type", "details", "occurred_at", "observed_at", "docker_state", "docker_health",
    "restart_count", "exit_code", "inspected_at", "probe_failures", "probe_last_status", "probe_last_error",
    "probed_at",
)  # fmt: skip
_LETTER_FIELDS = ("id", "stream", "entry_id", "reason", "received_at")
_NO_STEP = {"started_at": None, "duration_ms": None, "error": ""}


@dataclass(frozen=True, slots=True)
class Observed:
    """What Docker shows. ``known`` false: it did not answer, and nothing else here says anything."""

    known: bool
    reason: str = ""
    state: str | None = None
    container_id: str | None = None
    image_ref: str | None = None
    image_id: str | None = None
    health: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    oom_killed: bool | None = None
    restart_count: int | None = None
    networks: tuple[str, ...] = ()
    network_exists: bool | None = None
    foreign_container_id: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same on record, in Docker and in what was asked for; None: not known, or none."""

    what: str
    recorded: str | None
    observed: str | None
    desired: str | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that holds the game up. ``until`` is when it ends by itself, as far as that is known."""

    what: str
    text: str
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The whole answer. ``verbs`` has, for each, why it would be refused now; empty: it would not."""

    game_id: str
    as_of: datetime
    cause: Cause
    severity: Severity
    headline: str
    detail: str
    next_step: NextStep
    next_automatic: NextAutomatic
    verbs: Mapping[str, str]
    desired: Desired | None
    recorded: Mapping[str, Any] | None
    observed: Observed
    differences: tuple[Difference, ...]
    blocked_by: tuple[Obstacle, ...]
    open_operations: tuple[Mapping[str, Any], ...]
    open_count: int
    last_operations: tuple[Mapping[str, Any], ...]
    health: Mapping[str, Any] | None
    health_history: tuple[Mapping[str, Any], ...]
    dead_letters: tuple[Mapping[str, Any], ...]
    black_box: str | None
    limits: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The answer as plain JSON values, the keys in the order of the fields; times are RFC 3339 in UTC."""
        plain: dict[str, Any] = _plain(self)
        return plain


def explain(facts: Facts, *, now: datetime) -> Explanation:
    """The explanation of what is known at ``now``. Total: whatever the facts, there is one cause and a next step."""
    verdict = diagnose(facts, now=now)
    return Explanation(
        game_id=facts.game_id,
        as_of=now,
        cause=verdict.cause,
        severity=verdict.severity,
        headline=verdict.headline,
        detail=_detail(facts, verdict, now),
        next_step=verdict.step,
        next_automatic=verdict.automatic,
        verbs=refusals(facts),
        desired=facts.desired,
        recorded=_columns(facts.record, RECORD_FIELDS) if facts.record else None,
        observed=_observed(facts),
        differences=tuple(_differences(facts)),
        blocked_by=tuple(_obstacles(facts, verdict, now)),
        open_operations=tuple({**operation_json(one), **_columns(one, OPEN_FIELDS)} for one in facts.open_operations),
        open_count=facts.open_count,
        last_operations=tuple(operation_json(one) for one in facts.last_operations),
        health=_columns(facts.snapshot, SNAPSHOT_FIELDS) if facts.snapshot else None,
        health_history=tuple(_event(one) for one in facts.health_events),
        dead_letters=tuple({**_columns(one, _LETTER_FIELDS), "id": str(one.pk)} for one in facts.dead_letters),
        black_box=str(facts.black_box.pk) if facts.black_box else None,
        limits=facts.sight.limits,
    )


def operation_json(operation: Operation) -> dict[str, Any]:
    """An operation with the contract's fields."""
    steps = [{"name": step["name"], **_NO_STEP, **step} for step in operation.steps]
    return {**_columns(operation, OPERATION_FIELDS), "id": str(operation.pk), "steps": steps}


def _detail(facts: Facts, verdict: Verdict, now: datetime) -> str:
    beneath = apart_from_servers(facts, now=now)
    return f"{verdict.detail} Apart from that: {beneath.headline}." if beneath else verdict.detail


def _observed(facts: Facts) -> Observed:
    sight = facts.sight
    if not sight.is_known:
        return Observed(known=False, reason=one_line(sight.reason))
    foreign = sight.foreign.id if sight.foreign else None
    own = sight.own
    if own is None:
        return Observed(known=True, network_exists=sight.network_exists, foreign_container_id=foreign)
    return Observed(
        known=True,
        state=own.state.value,
        container_id=own.id,
        image_ref=own.image_ref,
        image_id=own.image_id,
        health=own.health or None,
        started_at=own.started_at,
        finished_at=own.finished_at,
        exit_code=None if own.is_alive else own.exit_code,
        oom_killed=own.oom_killed,
        restart_count=own.restart_count,
        networks=tuple(sorted(own.addresses)),
        network_exists=sight.network_exists,
        foreign_container_id=foreign,
    )


def _differences(facts: Facts) -> Iterator[Difference]:
    """Only what differs between the sides that are known."""
    for what, on_record, seen, wanted in _sides(facts):
        # A game that is not up has no container to compare, and nobody asks that it had.
        is_told = what == "status" or facts.sight.is_up
        if is_told and len({side for side in (on_record, seen, wanted) if side}) > 1:
            yield Difference(what, on_record or None, seen or None, wanted or None, _note(on_record, seen, wanted))


def _sides(facts: Facts) -> Iterator[tuple[str, str | None, str | None, str | None]]:
    """What, as recorded, observed and desired; empty or None where a side has nothing to say."""
    record, desired, own = facts.record, facts.desired, facts.sight.own
    image = desired.image_ref if desired else None
    yield "status", facts.status, _observed_status(facts), desired.status if desired else None
    if record is not None and own is not None:
        networks = ", ".join(sorted(own.addresses))
        yield "container", record.current_container_id, own.id, None
        # The label has the words of whoever asked; Docker's own have a tag where those had none.
        yield "image", record.current_image_ref, own.labels.get(LABEL_IMAGE_REF) or own.image_ref, image
        yield "image id", record.image_id, own.image_id, None
        yield "network", record.docker_network, networks, facts.rules.network


def _observed_status(facts: Facts) -> str | None:
    if not facts.sight.is_known:
        return None
    if facts.sight.own is None:
        return RuntimeStatus.REMOVED.value if facts.record else None
    return (RuntimeStatus.RUNNING if facts.sight.is_up else RuntimeStatus.STOPPED).value


def _note(on_record: str | None, seen: str | None, wanted: str | None) -> str:
    if on_record and seen and on_record != seen:
        return "the record is behind Docker"
    if wanted and (seen or on_record) != wanted:
        return "not what was asked for"
    return ""


def _obstacles(facts: Facts, verdict: Verdict, now: datetime) -> Iterator[Obstacle]:
    if facts.database_reason:
        yield Obstacle("database", one_line(facts.database_reason))
    if facts.redis_reason:
        yield Obstacle("redis", one_line(facts.redis_reason))
    if not facts.sight.is_known:
        yield Obstacle("docker", one_line(facts.sight.reason))
    if verdict.cause in {Cause.WORKER_DOWN, Cause.WORKERS_BUSY}:
        yield Obstacle("worker", verdict.headline)
    if facts.head is not None:
        yield from _obstacles_of_work(facts, facts.head, now)
    if facts.sight.foreign is not None and facts.sight.own is None:
        yield Obstacle("foreign_container", f"container {short(facts.sight.foreign.id)} holds the name")


def _obstacles_of_work(facts: Facts, head: Operation, now: datetime) -> Iterator[Obstacle]:
    name = f"{head.op_kind} (operation {head.pk})"
    step = current_step(head)
    if head.state == OpState.RUNNING:
        yield Obstacle("lease", f"{head.claimed_by} does {name}", head.started_at, head.lease_until)
    if head.awaits_image or (step and step["name"] == "pull"):
        yield Obstacle("pull", f"image {head.awaits_image or head.image_ref or facts.image_ref}", head.accepted_at)
    elif head.not_before is not None and head.not_before > now:
        yield Obstacle("backoff", f"{name} was put off: {one_line(head.error_message)}", None, head.not_before)
    if facts.open_count > 1:
        yield Obstacle("queue", f"{facts.open_count - 1} operations wait behind {name}", head.accepted_at)


def _event(event: OutboxEvent) -> dict[str, Any]:
    told = event.fields
    return {
        "id": str(event.pk),
        "event_type": told["event_type"],
        "container_id": told["container_id"],
        "occurred_at": datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(told["occurred_at_ms"])),
        "details": json.loads(told["details"]),
        "published_at": event.published_at,
    }


def _columns(row: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    # Enumerations of text are written as the text they are.
    return str(value) if isinstance(value, str) else value

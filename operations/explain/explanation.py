"""The explanation of a game: one answer for API, console and command line. Pure.

``collect`` reads the facts, ``rules`` decide, ``text`` renders the result for a terminal.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from operations.explain.diagnosis import AutomaticAction, Cause, Diagnosis, NextStep, Note, Severity
from operations.explain.facts import Desired, Facts, current_step
from operations.explain.next_step import refusals
from operations.explain.rules.failed_operations import notes
from operations.explain.rules.order import diagnose, diagnosis_without_redis
from operations.models import Operation, OutboxEvent
from operations.states import OperationState
from runtimes.api.serializers import serialize
from runtimes.container_spec import LABEL_IMAGE_REF
from runtimes.containers.configuration import ConfigurationDifference
from runtimes.formatting import format_image, from_unix_ms, short_id, single_line, to_rfc3339
from runtimes.states import RuntimeStatus

OPERATION_FIELDS = (
    "id", "game_id", "op_kind", "op_source", "source_ref", "image_ref", "container_id", "state", "outcome",
    "error_code", "error_message", "steps", "accepted_at", "started_at", "finished_at",
)  # fmt: skip
# What an operation has only while it is open: attempts, delay and lease.
OPEN_FIELDS = ("attempt", "retries", "not_before", "lease_until", "claimed_by", "waiting_for_image")
HEALTH_FIELDS = (
    "container_id", "event_type", "details", "occurred_at", "observed_at", "docker_state", "docker_health",
    "restart_count", "exit_code", "inspected_at", "probe_failures", "probe_last_status", "probe_last_error",
    "probed_at",
)  # fmt: skip
DEAD_LETTER_FIELDS = ("id", "stream", "entry_id", "reason", "received_at")
_NO_STEP = {"started_at": None, "duration_ms": None, "error": ""}
_OBSERVED_COLUMNS = ("image_ref", "image_id", "started_at", "finished_at", "oom_killed", "restart_count")


class BlockerKind(StrEnum):
    """What a blocker is."""

    LEASE = "lease"
    QUEUE = "queue"
    BACKOFF = "backoff"
    DOCKER = "docker"
    DATABASE = "database"
    REDIS = "redis"
    WORKER = "worker"
    PULL = "pull"
    FOREIGN_CONTAINER = "foreign_container"


# The docstrings of these classes are the descriptions in the OpenAPI document (``operations.api.explain``).


@dataclass(frozen=True, slots=True)
class Observed:
    """What Docker shows. `known` false: Docker did not answer, and the other fields are meaningless."""

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
    """A value that differs between record, Docker and request; null: unknown, or none."""

    what: str
    recorded: str | None
    observed: str | None
    desired: str | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Blocker:
    """What delays the game, and until when, if that is known."""

    what: BlockerKind
    text: str
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class HealthHistoryEntry:
    """One health event of the game."""

    id: str
    event_type: str
    container_id: str
    occurred_at: datetime
    details: Mapping[str, Any]
    published_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a game is in its state, what to do, and what happens next automatically."""

    game_id: str
    as_of: datetime
    cause: Cause
    severity: Severity
    headline: str
    detail: str
    next_step: NextStep
    next_automatic: AutomaticAction
    verbs: Mapping[str, str]
    desired: Desired | None
    recorded: Mapping[str, Any] | None
    observed: Observed
    differences: tuple[Difference, ...]
    blocked_by: tuple[Blocker, ...]
    open_operations: tuple[Mapping[str, Any], ...]
    open_count: int
    last_operations: tuple[Mapping[str, Any], ...]
    health: Mapping[str, Any] | None
    health_history: tuple[HealthHistoryEntry, ...]
    dead_letters: tuple[Mapping[str, Any], ...]
    exit_report: str | None
    limits: Mapping[str, Any]
    notes: tuple[Note, ...]
    configuration: tuple[ConfigurationDifference, ...]

    def as_json(self) -> dict[str, Any]:
        """The explanation as plain JSON values, keys in the order of the fields; times are RFC 3339 in UTC."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def explain(facts: Facts, *, now: datetime) -> Explanation:
    """The explanation at the time ``now``. For all facts there is one cause and a next step."""
    diagnosis, other = diagnose(facts, now=now), diagnosis_without_redis(facts, now=now)
    return Explanation(
        game_id=facts.game_id,
        as_of=now,
        cause=diagnosis.cause,
        severity=diagnosis.severity,
        headline=diagnosis.headline,
        detail=f"{diagnosis.detail} Apart from that: {other.headline}." if other else diagnosis.detail,
        next_step=diagnosis.step,
        next_automatic=diagnosis.automatic,
        verbs=refusals(facts),
        desired=facts.desired,
        recorded=serialize(facts.record) if facts.record else None,
        observed=_observed(facts),
        differences=tuple(_differences(facts)),
        blocked_by=tuple(_blockers(facts, diagnosis, now)),
        open_operations=tuple({**operation_json(row), **_columns(row, OPEN_FIELDS)} for row in facts.open_operations),
        open_count=facts.open_count,
        last_operations=tuple(operation_json(operation) for operation in facts.last_operations),
        health=_columns(facts.snapshot, HEALTH_FIELDS) if facts.snapshot else None,
        health_history=tuple(_history_entry(event) for event in facts.health_events),
        dead_letters=tuple({**_columns(row, DEAD_LETTER_FIELDS), "id": str(row.pk)} for row in facts.dead_letters),
        exit_report=str(facts.exit_report.pk) if facts.exit_report else None,
        limits=facts.docker_state.limits,
        notes=tuple(notes(facts, diagnosis, now)),
        configuration=facts.docker_state.configuration,
    )


def operation_json(operation: Operation) -> dict[str, Any]:
    """An operation with the contract's fields."""
    steps = [{"name": step["name"], **_NO_STEP, **step} for step in operation.steps]
    return {**_columns(operation, OPERATION_FIELDS), "id": str(operation.pk), "steps": steps}


def _observed(facts: Facts) -> Observed:
    docker_state, own = facts.docker_state, facts.docker_state.own
    if not docker_state.is_known:
        return Observed(known=False, reason=single_line(docker_state.reason))
    observed = Observed(
        known=True,
        network_exists=docker_state.network_exists,
        foreign_container_id=docker_state.foreign.id if docker_state.foreign else None,
    )
    if own is None:
        return observed
    return replace(
        observed,
        **_columns(own, _OBSERVED_COLUMNS),
        state=own.state.value,
        container_id=own.id,
        health=own.health or None,
        exit_code=None if own.is_alive else own.exit_code,
        networks=tuple(sorted(own.addresses)),
    )


def _differences(facts: Facts) -> Iterator[Difference]:
    for what, recorded, observed, desired in _compared_values(facts):
        # A game that is down has no container to compare.
        is_compared = what == "status" or facts.docker_state.is_up
        if is_compared and len({value for value in (recorded, observed, desired) if value}) > 1:
            note = _note(what, recorded, observed, desired)
            yield Difference(what, recorded or None, observed or None, desired or None, note)


def _compared_values(facts: Facts) -> Iterator[tuple[str, str | None, str | None, str | None]]:
    """Name, recorded, observed and desired value; empty or None where a side has no value."""
    record, desired, own = facts.record, facts.desired, facts.docker_state.own
    yield "status", facts.status, _observed_status(facts), desired.status if desired else None
    if record is not None and own is not None:
        yield "container", record.current_container_id, own.id, None
        # The label has the requested reference. Docker adds a tag to a reference without one.
        image_ref = own.labels.get(LABEL_IMAGE_REF) or own.image_ref
        yield "image", record.current_image_ref, image_ref, desired.image_ref if desired else None
        yield "image id", record.image_id, own.image_id, None
        # A second network is a difference of the configuration, not of the record.
        joined = sorted(own.addresses)
        network = record.docker_network if record.docker_network in joined else ", ".join(joined)
        yield "network", record.docker_network, network, facts.config.docker_network


def _observed_status(facts: Facts) -> str | None:
    if not facts.docker_state.is_known:
        return None
    if facts.docker_state.own is None:
        return RuntimeStatus.REMOVED.value if facts.record else None
    return (RuntimeStatus.RUNNING if facts.docker_state.is_up else RuntimeStatus.STOPPED).value


def _note(what: str, recorded: str | None, observed: str | None, desired: str | None) -> str:
    if recorded and observed and recorded != observed:
        return "its container is not in the recorded network" if what == "network" else "the record is behind Docker"
    return "not as requested" if desired and (observed or recorded) != desired else ""


def _blockers(facts: Facts, diagnosis: Diagnosis, now: datetime) -> Iterator[Blocker]:
    foreign = facts.docker_state.foreign
    if facts.database_reason:
        yield Blocker(BlockerKind.DATABASE, single_line(facts.database_reason))
    if facts.redis_reason:
        yield Blocker(BlockerKind.REDIS, single_line(facts.redis_reason))
    # Docker that no worker asked may be fine.
    if facts.docker_state.is_asked and not facts.docker_state.is_known:
        yield Blocker(BlockerKind.DOCKER, single_line(facts.docker_state.reason))
    if diagnosis.cause in {Cause.WORKER_DOWN, Cause.WORKERS_BUSY, Cause.DOCKER_NOT_OBSERVED}:
        yield Blocker(BlockerKind.WORKER, diagnosis.headline)
    if facts.next_operation is not None:
        yield from _blockers_of_operation(facts, facts.next_operation, now)
    if foreign is not None and facts.docker_state.own is None:
        yield Blocker(BlockerKind.FOREIGN_CONTAINER, f"container {short_id(foreign.id)} has the name")


def _blockers_of_operation(facts: Facts, operation: Operation, now: datetime) -> Iterator[Blocker]:
    name = f"{operation.op_kind} (operation {operation.pk})"
    step = current_step(operation)
    if operation.state == OperationState.RUNNING:
        worker = operation.claimed_by or "an unnamed worker"
        yield Blocker(BlockerKind.LEASE, f"{worker} runs {name}", operation.started_at, operation.lease_until)
    if operation.waiting_for_image or (step and step["name"] == "pull"):
        image_ref = operation.waiting_for_image or operation.image_ref or facts.image_ref
        yield Blocker(BlockerKind.PULL, format_image(image_ref), operation.accepted_at)
    elif operation.not_before is not None and operation.not_before > now:
        reason = single_line(operation.error_message)
        text = f"{name} is retried later" + (f": {reason}" if reason else "")
        yield Blocker(BlockerKind.BACKOFF, text, None, operation.not_before)
    if facts.open_count > 1:
        text = f"{facts.open_count - 1} operations wait behind {name}"
        yield Blocker(BlockerKind.QUEUE, text, operation.accepted_at)


def _history_entry(event: OutboxEvent) -> HealthHistoryEntry:
    values = event.fields
    return HealthHistoryEntry(
        id=str(event.pk),
        event_type=values["event_type"],
        container_id=values["container_id"],
        occurred_at=from_unix_ms(int(values["occurred_at_ms"])),
        details=json.loads(values["details"]),
        published_at=event.published_at,
    )


def _columns(row: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_rfc3339(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    # A StrEnum becomes plain text.
    return str(value) if isinstance(value, str) else value

"""The messages of the wire contract: jobs are parsed, and what RTM publishes becomes flat string fields. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings

from operations.intake import OperationRequest
from operations.states import OperationKind, OperationSource, StopReason, Topic
from runtimes.exceptions import ErrorCode, InvalidRequestError
from runtimes.formatting import from_unix_ms, to_unix
from runtimes.game_ids import check_game_id, is_game_id

# 9999-12-31: a greater number is not accepted as a time in milliseconds.
_LATEST_MS = 253_402_300_799_999
_LONGEST_FIELD = 4096

# All fields of jobs, over both job streams.
JOB_FIELDS = frozenset({"game_id", "image_ref", "reason", "requested_at_ms"})

# The fields of each topic, in the order of the contract.
EVENT_FIELDS: Mapping[Topic, Sequence[str]] = {
    Topic.JOB_RESULTS: ("game_id", "outcome", "container_id", "engine_endpoint", "error_code", "error_message"),
    Topic.HEALTH_EVENTS: ("game_id", "container_id", "event_type", "occurred_at_ms", "details"),
    Topic.NOTIFICATION_INTENTS: (
        "notification_type", "producer", "audience_kind", "idempotency_key", "occurred_at_ms", "payload_json",
    ),
    Topic.DEAD_LETTERS: ("stream", "entry_id", "reason", "fields_json"),
}  # fmt: skip

EntryId = tuple[int, int]
FieldValue = str | list[str]

PRODUCER = "runtime_manager"

# An operator must fix the cause of a start that failed with one of these codes.
NOTIFIED_ERRORS = frozenset(
    {ErrorCode.START_CONFIG_INVALID, ErrorCode.IMAGE_PULL_FAILED, ErrorCode.CONTAINER_START_FAILED}
)


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry of a stream. ``fields`` None: the entry is pending, but its producer has trimmed it.

    A field that occurs more than once has the list of its values. ``delivered_ms`` is a time of Redis' clock at which
    the entry was in the stream.
    """

    stream: str
    entry_id: str
    fields: Mapping[str, FieldValue] | None
    delivered_ms: int = field(default=0, compare=False)

    @property
    def order(self) -> EntryId:
        """The entry id as numbers: the order within its stream."""
        return parse_entry_id(self.entry_id)


def parse_entry_id(text: str) -> EntryId:
    """``1700000000000-3`` as (1700000000000, 3)."""
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence or 0)


def in_contract_order(topic: Topic, fields: Mapping[str, str]) -> dict[str, str]:
    """The same fields in the order of the contract, any others after them.

    The outbox stores them as jsonb, which sorts names by length. The order helps operators who use redis-cli.
    """
    known = [name for name in EVENT_FIELDS[topic] if name in fields]
    return {name: fields[name] for name in dict.fromkeys([*known, *fields])}


def parse_start_job(entry: StreamEntry) -> OperationRequest:
    """Parse an entry of the start stream. Raises InvalidRequestError that names the field."""
    fields = _single_fields(entry)
    return _request(entry, OperationKind.START, {"image_ref": _required(fields, "image_ref")})


def parse_stop_job(entry: StreamEntry) -> OperationRequest:
    """Parse an entry of the stop stream. Raises InvalidRequestError that names the field."""
    reason = _required(_single_fields(entry), "reason")
    if reason not in StopReason.values:
        message = f"reason {reason[:60]!a} is unknown; it is one of {', '.join(StopReason.values)}"
        raise InvalidRequestError(message)
    return _request(entry, OperationKind.STOP, {"reason": reason})


def game_id_or_empty(entry: StreamEntry) -> str:
    """The game id of an invalid entry if it is valid itself, else empty."""
    game_id = (entry.fields or {}).get("game_id", "")
    return game_id if isinstance(game_id, str) and is_game_id(game_id) else ""


def job_key(entry: StreamEntry) -> str:
    """The job key of a stream job: it identifies the job forever."""
    return f"{entry.stream}:{entry.entry_id}"


def _request(entry: StreamEntry, op_kind: OperationKind, arguments: Mapping[str, str]) -> OperationRequest:
    fields = _single_fields(entry)
    game_id = _required(fields, "game_id")
    check_game_id(game_id)
    return OperationRequest(
        game_id=game_id,
        op_kind=op_kind,
        op_source=OperationSource.LOBBY_STREAM,
        job_key=job_key(entry),
        source_ref=entry.entry_id,
        arguments=arguments,
        requested_at=_parse_time(_required(fields, "requested_at_ms")),
    )


def _single_fields(entry: StreamEntry) -> Mapping[str, str]:
    fields = entry.fields or {}
    single = {name: value for name, value in fields.items() if isinstance(value, str)}
    for name in fields.keys() - single:
        message = f"field {name[:60]!a} occurs more than once"
        raise InvalidRequestError(message)
    return single


def _required(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name, "")
    if not value:
        message = f"field {name} is missing or empty"
        raise InvalidRequestError(message)
    if len(value) > _LONGEST_FIELD or not value.isprintable():
        message = f"field {name} is not printable text of at most {_LONGEST_FIELD} characters"
        raise InvalidRequestError(message)
    return value


def _parse_time(text: str) -> datetime:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(_LATEST_MS)) and int(text) <= _LATEST_MS):
        message = f"field requested_at_ms is {text[:60]!a}, not milliseconds since 1970 as decimal digits"
        raise InvalidRequestError(message)
    return from_unix_ms(int(text))


Parser = Callable[[StreamEntry], OperationRequest]


def job_parsers() -> dict[str, Parser]:
    """Job stream of this installation → parser of its entries."""
    config = settings.RTMANAGER
    return {config.start_jobs_stream: parse_start_job, config.stop_jobs_stream: parse_stop_job}


class HealthEventType(StrEnum):
    """The closed list of health events; exactly one component reports each of them."""

    CONTAINER_STARTED = "container_started"
    CONTAINER_EXITED = "container_exited"
    CONTAINER_OOM = "container_oom"
    CONTAINER_DISAPPEARED = "container_disappeared"
    INSPECT_UNHEALTHY = "inspect_unhealthy"
    PROBE_FAILED = "probe_failed"
    PROBE_RECOVERED = "probe_recovered"


@dataclass(frozen=True, slots=True)
class HealthEvent:
    """One technical observation of one container."""

    event_type: HealthEventType
    container_id: str
    occurred_at: datetime
    details: Mapping[str, Any] = field(default_factory=dict)
    exit_key: str = ""

    @property
    def dedupe_key(self) -> str:
        """One occurrence is one event, even if several components observe it.

        ``exit_key`` distinguishes occurrences of an event that one container can have more than once. A container
        starts and disappears once.
        """
        return ":".join(filter(None, ["health", self.container_id, self.event_type, self.exit_key]))


def epoch_ms(at: datetime) -> int:
    """Milliseconds since 1970, the format of every time on a stream."""
    return to_unix(at, timedelta(milliseconds=1))


def job_result_fields(*, game_id: str, outcome: str, **values: str) -> dict[str, str]:
    """The result of one job. All six fields are always present; a field without a value is empty."""
    empty = dict.fromkeys(EVENT_FIELDS[Topic.JOB_RESULTS], "")
    return {**empty, "game_id": game_id, "outcome": str(outcome), **values}


def health_event_fields(game_id: str, event: HealthEvent) -> dict[str, str]:
    """The fields of one health event."""
    return {
        "game_id": game_id,
        "container_id": event.container_id,
        "event_type": event.event_type,
        "occurred_at_ms": str(epoch_ms(event.occurred_at)),
        "details": _json(event.details),
    }


def intent_key(*, error_code: str, game_id: str, attempted_at: datetime) -> str:
    """The idempotency key under which Notification accepts an intent once."""
    return f"{PRODUCER}:{error_code}:{game_id}:{epoch_ms(attempted_at)}"


def notification_intent_fields(
    *, game_id: str, image_ref: str, error_code: str, error_message: str, attempted_at: datetime
) -> dict[str, str]:
    """A failed start, for the operators who can fix it."""
    payload = {
        "game_id": game_id,
        "image_ref": image_ref,
        "error_code": error_code,
        "error_message": error_message,
        "attempted_at_ms": epoch_ms(attempted_at),
    }
    return {
        "notification_type": f"runtime.{error_code}",
        "producer": PRODUCER,
        "audience_kind": "admin_email",
        "idempotency_key": intent_key(error_code=error_code, game_id=game_id, attempted_at=attempted_at),
        "occurred_at_ms": str(epoch_ms(attempted_at)),
        "payload_json": _json(payload),
    }


def dead_letter_fields(*, stream: str, entry_id: str, reason: str, fields: Mapping[str, FieldValue]) -> dict[str, str]:
    """A complete stream entry that is not a valid job, with the reason."""
    return {"stream": stream, "entry_id": entry_id, "reason": reason, "fields_json": _json(fields)}


def _json(value: Any) -> str:
    # ASCII output can be stored and read everywhere, whatever bytes a producer sent.
    return json.dumps(value, separators=(",", ":"), sort_keys=True)

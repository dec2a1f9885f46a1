"""The messages of the wire contract as streams carry them: how jobs are read, how events are laid out. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from operations.intake import OperationRequest
from operations.states import OpKind, OpSource, StopReason, Topic
from runtimes.exceptions import InvalidRequestError
from runtimes.games import check_game_id, is_game_id
from tasks.streams.base import StreamEntry

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# 9999-12-31: beyond it, a number is no time in milliseconds.
_LATEST_MS = 253_402_300_799_999
_LONGEST_FIELD = 4096

# All that a job may say, over both job streams.
JOB_FIELDS = frozenset({"game_id", "image_ref", "reason", "requested_at_ms"})

# As the contract lists them.
EVENT_FIELDS: Mapping[Topic, Sequence[str]] = {
    Topic.JOB_RESULTS: ("game_id", "outcome", "container_id", "engine_endpoint", "error_code", "error_message"),
    Topic.HEALTH_EVENTS: ("game_id", "container_id", "event_type", "occurred_at_ms", "details"),
    Topic.NOTIFICATION_INTENTS: (
        "notification_type", "producer", "audience_kind", "idempotency_key", "occurred_at_ms", "payload_json",
    ),
    Topic.DEAD_LETTERS: ("stream", "entry_id", "reason", "fields_json"),
}  # fmt: skip


def in_contract_order(topic: Topic, fields: Mapping[str, str]) -> dict[str, str]:
    """The same fields in the order of the contract, any others after them.

    The outbox keeps them as jsonb, which sorts names by length; people read streams with redis-cli.
    """
    known = [name for name in EVENT_FIELDS[topic] if name in fields]
    return {name: fields[name] for name in dict.fromkeys([*known, *fields])}


def parse_start_job(entry: StreamEntry) -> OperationRequest:
    """Read an entry of the start stream. Raises InvalidRequestError that names the field."""
    fields = entry.fields or {}
    return _request(entry, OpKind.START, {"image_ref": _required(fields, "image_ref")})


def parse_stop_job(entry: StreamEntry) -> OperationRequest:
    """Read an entry of the stop stream. Raises InvalidRequestError that names the field."""
    reason = _required(entry.fields or {}, "reason")
    if reason not in StopReason.values:
        message = f"reason {reason[:60]!a} is unknown; it is one of {', '.join(StopReason.values)}"
        raise InvalidRequestError(message)
    return _request(entry, OpKind.STOP, {"reason": reason})


def readable_game_id(entry: StreamEntry) -> str:
    """The game of a bad entry if it can be read, else empty."""
    game_id = (entry.fields or {}).get("game_id", "")
    return game_id if is_game_id(game_id) else ""


def job_key(entry: StreamEntry) -> str:
    """The name of a stream job for ever."""
    return f"{entry.stream}:{entry.entry_id}"


def _request(entry: StreamEntry, op_kind: OpKind, arguments: Mapping[str, str]) -> OperationRequest:
    fields = entry.fields or {}
    game_id = _required(fields, "game_id")
    check_game_id(game_id)
    return OperationRequest(
        game_id=game_id,
        op_kind=op_kind,
        op_source=OpSource.LOBBY_STREAM,
        job_key=job_key(entry),
        source_ref=entry.entry_id,
        arguments=arguments,
        requested_at=_moment(_required(fields, "requested_at_ms")),
    )


def _required(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name, "")
    if not value:
        message = f"field {name} is missing or empty"
        raise InvalidRequestError(message)
    if len(value) > _LONGEST_FIELD or not value.isprintable():
        message = f"field {name} is not printable text of at most {_LONGEST_FIELD} characters"
        raise InvalidRequestError(message)
    return value


def _moment(text: str) -> datetime:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(_LATEST_MS)) and int(text) <= _LATEST_MS):
        message = f"field requested_at_ms is {text[:60]!a}, not milliseconds since 1970 as decimal digits"
        raise InvalidRequestError(message)
    # Whole milliseconds: through a fraction of seconds a distant time would lose some of them.
    return _EPOCH + timedelta(milliseconds=int(text))

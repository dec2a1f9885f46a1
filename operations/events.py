"""What RTM says to the outside, as the flat string fields of the wire contract. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from runtimes.exceptions import ErrorCode

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PRODUCER = "runtime_manager"
AUDIENCE = "admin_email"

# A failed start of these classes is a person's business: something must be mended before it can work.
NOTIFIED_ERRORS = frozenset(
    {ErrorCode.START_CONFIG_INVALID, ErrorCode.IMAGE_PULL_FAILED, ErrorCode.CONTAINER_START_FAILED}
)


class HealthEventType(StrEnum):
    """The closed list of health events; each has exactly one owner that reports it."""

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
    occurrence: str = ""

    @property
    def dedupe_key(self) -> str:
        """One occurrence is one event, however many see it. ``occurrence`` tells apart what can happen to one
        container more than once; a container starts and disappears once.
        """
        return ":".join(filter(None, ["health", self.container_id, self.event_type, self.occurrence]))


def epoch_ms(moment: datetime) -> int:
    """Milliseconds since 1970, as every time on a stream is written."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def job_result_fields(  # noqa: PLR0913 - the six fields of the contract, none optional on the wire
    *,
    game_id: str,
    outcome: str,
    container_id: str = "",
    engine_endpoint: str = "",
    error_code: str = "",
    error_message: str = "",
) -> dict[str, str]:
    """The answer to one job; all six fields are always written, empty when there is nothing."""
    return {
        "game_id": game_id,
        "outcome": outcome,
        "container_id": container_id,
        "engine_endpoint": engine_endpoint,
        "error_code": error_code,
        "error_message": error_message,
    }


def health_event_fields(game_id: str, event: HealthEvent) -> dict[str, str]:
    """One health event."""
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
    """A failed start, for the people who can mend it."""
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
        "audience_kind": AUDIENCE,
        "idempotency_key": intent_key(error_code=error_code, game_id=game_id, attempted_at=attempted_at),
        "occurred_at_ms": str(epoch_ms(attempted_at)),
        "payload_json": _json(payload),
    }


def dead_letter_fields(*, stream: str, entry_id: str, reason: str, fields: Mapping[str, str]) -> dict[str, str]:
    """A stream entry that no job could be read from, whole, with the reason."""
    return {"stream": stream, "entry_id": entry_id, "reason": reason, "fields_json": _json(fields)}


def _json(value: Any) -> str:
    # ASCII output: whatever bytes a producer sent, the text can be stored and read everywhere.
    return json.dumps(value, separators=(",", ":"), sort_keys=True)

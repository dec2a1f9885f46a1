"""What goes into a black box, made fit to be kept: bounded, readable as JSON, and without secrets."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from operations.events import HealthEventType
from operations.models import OutboxEvent
from operations.redaction import redact_json, redact_lines
from operations.states import Topic
from runtimes.containers.telemetry import LogLine, newest_within
from runtimes.health import Inspection
from runtimes.models import HealthSnapshot

LOG_CHARACTERS = 64 * 1024
INSPECT_CHARACTERS = 64 * 1024
LONGEST_TEXT = 2000
LONGEST_LIST = 100
HEALTH_EVENTS = 20

# The parts of Docker's inspection that tell how a container was made, run and ended; the rest is its own book-keeping.
_PARTS = (
    "Id", "Name", "Created", "Path", "Args", "State", "Image", "RestartCount", "Platform", "Config", "HostConfig",
    "NetworkSettings", "Mounts",
)  # fmt: skip
_OF_NETWORK = ("Networks",)
# Dropped one after the other until the rest is short enough.
_DISPENSABLE = ("NetworkSettings", "Config", "HostConfig", "Args", "Mounts")
_PROBES = (
    "event_type", "details", "occurred_at", "docker_state", "docker_health", "restart_count", "exit_code",
    "inspected_at", "probe_failures", "probe_last_status", "probe_last_error", "probed_at",
)  # fmt: skip


def log_of(lines: Sequence[LogLine]) -> list[dict[str, str | None]]:
    """The last lines, as the API tells those of a container that is still there."""
    # Redacted before it is cut: half a key is no longer known for one.
    texts = redact_lines([one.line for one in lines])
    redacted = [LogLine(one.at, one.stream, text) for one, text in zip(lines, texts, strict=True)]
    kept = newest_within(redacted, characters=LOG_CHARACTERS)
    return [{"at": _rfc3339(one.at), "stream": one.stream, "line": one.line} for one in kept]


def inspection_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Docker's own words on the container, the telling parts."""
    kept = {part: raw[part] for part in _PARTS if part in raw}
    if isinstance(kept.get("NetworkSettings"), dict):
        kept["NetworkSettings"] = {part: kept["NetworkSettings"].get(part) for part in _OF_NETWORK}
    inspection = fit(kept)
    for part in _DISPENSABLE:
        if len(json.dumps(inspection)) <= INSPECT_CHARACTERS:
            break
        inspection[part] = None
    return inspection


def fit(value: Mapping[str, Any]) -> dict[str, Any]:
    """JSON of any origin, redacted and bounded."""
    fitting: dict[str, Any] = bounded(redact_json(dict(value)))
    return fitting


def bounded(value: Any) -> Any:
    """The same structure with long texts and lists cut, and without NUL, which PostgreSQL cannot keep."""
    if isinstance(value, dict):
        return {str(key)[:LONGEST_TEXT]: bounded(inner) for key, inner in list(value.items())[:LONGEST_LIST]}
    if isinstance(value, list | tuple):
        return [bounded(inner) for inner in value[:LONGEST_LIST]]
    return value.replace("\x00", "")[:LONGEST_TEXT] if isinstance(value, str) else value


def snapshot_of(game_id: str, container_id: str) -> HealthSnapshot | None:
    """The last health observation, if it is about this container."""
    return HealthSnapshot.objects.filter(pk=game_id, container_id=container_id).first()


def is_unwell(game_id: str, container_id: str) -> bool:
    """Whether the last thing seen of a container that is said to run was bad."""
    snapshot = snapshot_of(game_id, container_id)
    if snapshot is None:
        return False
    starved = snapshot.event_type == HealthEventType.CONTAINER_OOM
    inspection = Inspection(state=snapshot.docker_state, health=snapshot.docker_health)
    return starved or snapshot.probe_failures > 0 or inspection.is_bad


def probes_of(game_id: str, container_id: str) -> dict[str, Any]:
    """What was observed of its health: the last snapshot, and the events that were told, oldest first."""
    snapshot = snapshot_of(game_id, container_id)
    told = OutboxEvent.objects.filter(game_id=game_id, topic=Topic.HEALTH_EVENTS).order_by("-id")
    events = [one for one in told.values_list("fields", flat=True)[:HEALTH_EVENTS] if _is_about(one, container_id)]
    return {"snapshot": _as_json(snapshot) if snapshot else None, "events": [_event(one) for one in reversed(events)]}


def _is_about(fields: Mapping[str, str], container_id: str) -> bool:
    return fields.get("container_id") == container_id


def _event(fields: Mapping[str, str]) -> dict[str, Any]:
    return {
        "event_type": fields["event_type"],
        "occurred_at_ms": int(fields["occurred_at_ms"]),
        "details": json.loads(fields["details"]),
    }


def _as_json(snapshot: HealthSnapshot) -> dict[str, Any]:
    values = {name: getattr(snapshot, name) for name in _PROBES}
    return {name: _rfc3339(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _rfc3339(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None

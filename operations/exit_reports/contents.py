"""The contents of an exit report: limited in size, valid JSON, and without secrets."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from operations.exit_reports.redaction import redact_json, redact_lines
from operations.messages import HealthEventType
from operations.models import OutboxEvent
from operations.states import Topic
from runtimes.containers.types import LogLine, truncate_to_last
from runtimes.formatting import to_rfc3339
from runtimes.models import HealthSnapshot

LOG_CHARACTERS = 64 * 1024
INSPECT_CHARACTERS = 64 * 1024
MAX_TEXT = 2000
MAX_LIST = 100
HEALTH_EVENTS = 20

# The parts of Docker's inspection that say how the container was created, ran and exited.
_INSPECTION_PARTS = (
    "Id", "Name", "Created", "Path", "Args", "State", "Image", "RestartCount", "Platform", "Config", "HostConfig",
    "NetworkSettings", "Mounts",
)  # fmt: skip
# Dropped in this order until the inspection is short enough.
_OPTIONAL_PARTS = ("NetworkSettings", "Config", "HostConfig", "Args", "Mounts")
_SNAPSHOT_FIELDS = (
    "event_type", "details", "occurred_at", "docker_state", "docker_health", "restart_count", "exit_code",
    "inspected_at", "probe_failures", "probe_last_status", "probe_last_error", "probed_at",
)  # fmt: skip


def log_lines(lines: Sequence[LogLine]) -> list[dict[str, str | None]]:
    """The last lines, in the format of the log endpoint."""
    # Redact before truncating: a secret that is cut in half is not recognised.
    texts = redact_lines([line.line for line in lines])
    redacted = [LogLine(line.at, line.stream, text) for line, text in zip(lines, texts, strict=True)]
    kept = truncate_to_last(redacted, characters=LOG_CHARACTERS)
    return [{"at": to_rfc3339(line.at) if line.at else None, "stream": line.stream, "line": line.line} for line in kept]


def inspection(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The useful parts of Docker's inspection, in at most INSPECT_CHARACTERS."""
    kept = {part: raw[part] for part in _INSPECTION_PARTS if part in raw}
    if isinstance(kept.get("NetworkSettings"), dict):
        kept["NetworkSettings"] = {"Networks": kept["NetworkSettings"].get("Networks")}
    sanitized = sanitize(kept)
    for part in _OPTIONAL_PARTS:
        if len(json.dumps(sanitized)) <= INSPECT_CHARACTERS:
            break
        sanitized[part] = None
    return sanitized


def sanitize(value: Mapping[str, Any]) -> dict[str, Any]:
    """Redact JSON of any origin and limit its size."""
    sanitized: dict[str, Any] = truncate(redact_json(dict(value)))
    return sanitized


def truncate(value: Any) -> Any:
    """Shorten long texts and lists, and remove NUL characters, which PostgreSQL cannot store."""
    if isinstance(value, dict):
        return {str(key)[:MAX_TEXT]: truncate(inner) for key, inner in list(value.items())[:MAX_LIST]}
    if isinstance(value, list | tuple):
        return [truncate(inner) for inner in value[:MAX_LIST]]
    return value.replace("\x00", "")[:MAX_TEXT] if isinstance(value, str) else value


def health_snapshot(game_id: str, container_id: str) -> HealthSnapshot | None:
    """The last health observation of the game, if it is about this container."""
    return HealthSnapshot.objects.filter(pk=game_id, container_id=container_id).first()


def is_unhealthy(game_id: str, container_id: str) -> bool:
    """Whether the last health observation of a container that is recorded as running was bad."""
    snapshot = health_snapshot(game_id, container_id)
    return bool(snapshot and (snapshot.is_unhealthy or snapshot.event_type == HealthEventType.CONTAINER_OOM))


def health_history(game_id: str, container_id: str) -> dict[str, Any]:
    """The last health snapshot of the container and its last health events, oldest first."""
    snapshot = health_snapshot(game_id, container_id)
    rows = OutboxEvent.objects.filter(game_id=game_id, topic=Topic.HEALTH_EVENTS).order_by("-id")
    events = [
        {
            "event_type": event["event_type"],
            "occurred_at_ms": int(event["occurred_at_ms"]),
            "details": json.loads(event["details"]),
        }
        for event in rows.values_list("fields", flat=True)[:HEALTH_EVENTS]
        if event.get("container_id") == container_id
    ]
    return {"snapshot": _as_json(snapshot) if snapshot else None, "events": events[::-1]}


def _as_json(snapshot: HealthSnapshot) -> dict[str, Any]:
    values = {name: getattr(snapshot, name) for name in _SNAPSHOT_FIELDS}
    return {name: to_rfc3339(value) if isinstance(value, datetime) else value for name, value in values.items()}

"""Desired, recorded and observed of one game, row by row, as a table shows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SHORT_ID = 12
_TO_THE_SECOND = len("2026-11-21T08:30:00")
_ROWS = {
    "status": ("status", "status", "state"),
    "image": ("image_ref", "current_image_ref", "image_ref"),
    "container": ("", "current_container_id", "container_id"),
    "network": ("", "docker_network", "networks"),
    "started at": ("", "started_at", "started_at"),
    "health": ("", "", "health"),
}


@dataclass(frozen=True, slots=True)
class Side:
    """One thing, from three points of view; empty where a view says nothing of it."""

    what: str
    desired: str
    recorded: str
    observed: str
    differs: bool


def sides(explanation: Mapping[str, Any]) -> list[Side]:
    """The rows of the table. What differs is the explanation's own verdict, not a comparison of texts."""
    differing = {difference["what"] for difference in explanation["differences"]}
    desired, recorded, observed = (explanation[view] for view in ("desired", "recorded", "observed"))
    return [
        Side(what, _text(desired, asked), _text(recorded, noted), _text(observed, seen), differs=what in differing)
        for what, (asked, noted, seen) in _ROWS.items()
    ]


def _text(view: Mapping[str, Any] | None, field: str) -> str:
    value = view.get(field) if view and field else None
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = "" if value is None else str(value)
    if field.endswith("container_id"):
        return text[:_SHORT_ID]
    return text[:_TO_THE_SECOND].replace("T", " ") if field.endswith("_at") else text

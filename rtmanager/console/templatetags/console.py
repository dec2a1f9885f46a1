"""Words and shapes of the console's templates."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from runtimes.badges import tone

register = template.Library()

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TOLD_IN_MS = 10_000
_MEBIBYTE = 2**20

register.filter("tone", tone)


@register.filter
def moment(value: Any) -> datetime | None:
    """A time from the API's text form, or as it is."""
    return parse_datetime(value) if isinstance(value, str) else value


@register.filter
def ago(value: Any) -> str:
    """How long ago, or in how long, in one unit: ``12 s ago``, ``in 3 min``."""
    at = moment(value)
    if at is None:
        return ""
    seconds = (timezone.now() - at).total_seconds()
    length = abs(seconds)
    if length < _MINUTE:
        text = f"{length:.0f} s"
    elif length < _HOUR:
        text = f"{length / _MINUTE:.0f} min"
    elif length < 2 * _DAY:
        text = f"{length / _HOUR:.0f} h"
    else:
        text = f"{length / _DAY:.0f} days"
    return f"{text} ago" if seconds >= 0 else f"in {text}"


@register.filter
def short_id(value: str | None) -> str:
    """A container id as ``docker ps`` shows it."""
    return (value or "")[:12]


@register.filter
def took(step: dict[str, Any]) -> str:
    """How long a step took."""
    duration = step.get("duration_ms")
    if duration is None:
        return "under way"
    return f"{duration} ms" if duration < _TOLD_IN_MS else f"{duration / 1000:.0f} s"


@register.filter
def named(name: str) -> str:
    """A key as people read it; the unit stands beside the value."""
    return name.removesuffix("_bytes").removeprefix("nano_").replace("_", " ")


@register.filter
def in_words(value: Any, name: str) -> str:
    """A limit as people say it: sizes in MiB, processor time in cores, lists and settings on one line."""
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value / _MEBIBYTE:.0f} MiB"
    if name == "nano_cpus" and isinstance(value, int):
        return f"{value / 1e9:g} cores"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {in_words(inner, str(key))}" for key, inner in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(in_words(inner, "") for inner in value) or "none"
    return str(value) if value not in (None, "") else "none"

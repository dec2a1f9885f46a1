"""Filters of the console's templates."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from rtmanager.console.ansi import render_ansi
from rtmanager.console.badges import tone
from runtimes.formatting import format_age, format_memory

register = template.Library()

_MAX_SHOWN_MS = 10_000

register.filter("tone", tone)
register.filter("ansi", render_ansi)


@register.filter
def moment(value: Any) -> datetime | None:
    """A datetime, also from the text form of the API."""
    return parse_datetime(value) if isinstance(value, str) else value


@register.filter
def ago(value: Any) -> str:
    """How long ago, or in how long, in one unit: ``12 s ago``, ``in 3 min``."""
    at = moment(value)
    return "" if at is None else format_age(at, now=timezone.now())


@register.filter
def took(step: dict[str, Any]) -> str:
    """The duration of a step."""
    duration = step.get("duration_ms")
    if duration is None:
        return "in progress"
    return f"{duration} ms" if duration < _MAX_SHOWN_MS else f"{duration / 1000:.0f} s"


@register.filter
def label(name: str) -> str:
    """A key as a label: without its unit, which stands beside the value."""
    return name.removesuffix("_bytes").removeprefix("nano_").replace("_", " ")


@register.filter
def readable(value: Any, name: str) -> str:
    """A limit as text: sizes in MiB, CPU in cores, lists and mappings on one line."""
    if name.endswith("_bytes") and isinstance(value, int):
        return format_memory(value)
    if name == "nano_cpus" and isinstance(value, int):
        return f"{value / 1e9:g} cores"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {readable(inner, str(key))}" for key, inner in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(readable(inner, "") for inner in value) or "none"
    return str(value) if value not in (None, "") else "none"

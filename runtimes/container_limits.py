"""The resource limits of a game's container: from image labels within bounds, and the origin of each limit. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from runtimes.container_spec import (
    LABEL_CPU_QUOTA,
    LABEL_MEMORY,
    LABEL_PIDS_LIMIT,
    MAX_PIDS,
    MIN_CPU_QUOTA,
    MIN_MEMORY_BYTES,
    MIN_PIDS_LIMIT,
    Limits,
    MaxLimits,
    parse_memory,
)
from runtimes.containers.types import HostCapacity
from runtimes.formatting import format_memory

# The maximum number of processes if none is configured, so that a fork bomb cannot use up those of the host.
DEFAULT_MAX_PIDS_LIMIT = 4096

Number = float | int


@dataclass(frozen=True, slots=True)
class _Resource:
    """One limit: its field in Limits, its display names, and what Docker accepts.

    ``parse`` raises ValueError with a message.
    """

    field: str
    name: str
    label: str
    setting: str
    low: Number
    high: Number
    parse: Callable[[str], Number]
    format: Callable[[Number], str]

    @property
    def default_name(self) -> str:
        return f"RTMANAGER_DEFAULT_{self.setting}"

    @property
    def ceiling_name(self) -> str:
        return f"RTMANAGER_MAX_{self.setting}"


class Ceiling(NamedTuple):
    """The maximum of one resource, and its origin."""

    value: Number
    reason: str


Ceilings = Mapping[str, Ceiling]


def exceeds_defaults(labels: Mapping[str, str], defaults: Limits) -> bool:
    """Whether a label requests more than the default, so that the capacity of the host matters."""
    requested = ((resource, _requested(resource, labels)) for resource in (_CPU, _MEMORY))
    return any(value is not None and value > getattr(defaults, resource.field) for resource, value in requested)


def ceilings_of(configured: MaxLimits, defaults: Limits, host: HostCapacity | None) -> Ceilings:
    """The maximum of each resource. ``host`` is None if its capacity is unknown or does not matter.

    Docker rejects more CPUs than the host has, so the host also limits a configured maximum of CPUs.
    """
    pids = configured.pids_limit or max(DEFAULT_MAX_PIDS_LIMIT, defaults.pids_limit)
    ceilings = {_PIDS.field: Ceiling(pids, _PIDS.ceiling_name)}
    for resource, value in ((_CPU, configured.cpu_quota), (_MEMORY, configured.memory_bytes)):
        if value is not None:
            ceilings[resource.field] = Ceiling(value, resource.ceiling_name)
    if host is not None and (configured.cpu_quota is None or host.cpus < configured.cpu_quota):
        ceilings[_CPU.field] = Ceiling(host.cpus, f"the capacity of the Docker host; see {_CPU.ceiling_name}")
    if host is not None and configured.memory_bytes is None:
        reason = f"the capacity of the Docker host; see {_MEMORY.ceiling_name}"
        ceilings[_MEMORY.field] = Ceiling(host.memory_bytes, reason)
    return ceilings


def limits_from_labels(labels: Mapping[str, str], defaults: Limits, ceilings: Ceilings) -> tuple[Limits, list[str]]:
    """The limits that an image requests by its labels, and a warning for each label that is not applied exactly.

    A missing or invalid label gives the default. A value is reduced to the maximum, or raised to the minimum.
    An invalid label does not stop the start of a game.
    """
    limits = [_limit(resource, labels, defaults, ceilings) for resource in _RESOURCES]
    cpu_quota, memory_bytes, pids_limit = (value for value, _warning in limits)
    warnings = [warning for _value, warning in limits if warning]
    return Limits(float(cpu_quota), int(memory_bytes), int(pids_limit)), warnings


def origin_of(field: str, labels: Mapping[str, str], value: Number) -> str:
    """The origin of a container's limit: the image label or the setting.

    ``labels`` are those of the container, which include those of its image.
    """
    resource = _BY_FIELD[field]
    if resource.label not in labels:
        return resource.default_name
    requested, label = _requested(resource, labels), _label(resource, labels)
    if requested is None:
        return f"{resource.default_name}, as {label} is invalid"
    if value == _rounded(resource, requested):
        return label
    change = f"reduced to {resource.ceiling_name}" if value < requested else "raised to the minimum"
    return f"{label}, {change}"


def describe_limit(field: str, labels: Mapping[str, str], value: Number) -> str:
    """A limit with its value and origin, for a message."""
    resource = _BY_FIELD[field]
    return f"{resource.name} {resource.format(value)} from {origin_of(field, labels, value)}"


def raise_advice(field: str, labels: Mapping[str, str], value: Number) -> str:
    """What to change so that the container gets more: the label or the setting that decided."""
    resource = _BY_FIELD[field]
    requested = _requested(resource, labels)
    if requested is None:
        return f"raise {resource.default_name}, or give the image the label {resource.label}"
    if value < _rounded(resource, requested):
        return f"raise {resource.ceiling_name}, which reduced {_label(resource, labels)}"
    return f"raise the {_label(resource, labels)}"


def beyond_host(limits: Limits, host: HostCapacity) -> Iterator[str]:
    """A message for each default limit that exceeds the capacity of the host."""
    if limits.cpu_quota > host.cpus:
        yield f"{_CPU.default_name} is {_CPU.format(limits.cpu_quota)}, the Docker host has {host.cpus} CPUs"
    if limits.memory_bytes > host.memory_bytes:
        has = _MEMORY.format(host.memory_bytes)
        yield f"{_MEMORY.default_name} is {_MEMORY.format(limits.memory_bytes)}, the Docker host has {has}"


def _limit(resource: _Resource, labels: Mapping[str, str], defaults: Limits, ceilings: Ceilings) -> tuple[Number, str]:
    """The value of one limit, and a warning, usually empty."""
    default: Number = getattr(defaults, resource.field)
    if resource.label not in labels:
        return default, ""
    label, low = _label(resource, labels), resource.low
    try:
        requested = resource.parse(labels[resource.label].strip())
    except ValueError as error:
        origin = f"the limit is {resource.format(default)}, from {resource.default_name}"
        return default, f"{label} is ignored: {error}; {origin}"
    high, reason = ceilings.get(resource.field, Ceiling(resource.high, "the maximum of Docker"))
    if requested > high:
        return high, f"{label} is reduced to the ceiling {resource.format(high)} ({reason})"
    if requested < low:
        return low, f"{label} is raised to {resource.format(low)}, the minimum with which a container starts"
    return requested, ""


def _requested(resource: _Resource, labels: Mapping[str, str]) -> Number | None:
    try:
        return resource.parse(labels[resource.label].strip()) if resource.label in labels else None
    except ValueError:
        return None


def _label(resource: _Resource, labels: Mapping[str, str]) -> str:
    return f"image label {resource.label}={labels[resource.label][:64]!r}"


def _rounded(resource: _Resource, value: Number) -> Number:
    """The value as Docker stores it: CPUs in billionths."""
    return round(value, 9) if resource is _CPU else value


def _parse_cpus(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,9})?", text) or not float(text):
        raise ValueError("it is not a number of CPUs like 1.5")
    return float(text)


def _parse_pids(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text) or not int(text):
        raise ValueError("it is not a number of processes like 512")
    return int(text)


_CPU = _Resource(
    "cpu_quota", "CPU limit", LABEL_CPU_QUOTA, "CPU_QUOTA", MIN_CPU_QUOTA, 9_000_000_000, _parse_cpus, "{:g}".format
)  # fmt: skip
_MEMORY = _Resource(
    "memory_bytes", "memory limit", LABEL_MEMORY, "MEMORY", MIN_MEMORY_BYTES, 2**63 - 1, parse_memory, format_memory
)  # fmt: skip
_PIDS = _Resource(
    "pids_limit", "limit of processes", LABEL_PIDS_LIMIT, "PIDS_LIMIT", MIN_PIDS_LIMIT, MAX_PIDS, _parse_pids, str
)  # fmt: skip
_RESOURCES = (_CPU, _MEMORY, _PIDS)
_BY_FIELD = {resource.field: resource for resource in _RESOURCES}

"""Differences between the configuration of a container and what RTM would create now. Pure.

Both sides have the structure of Docker's inspection, so one function reads both. Docker versions write one value
differently (``ALL`` or ``CAP_ALL``, null or zero); each field is normalised before the comparison.
"""

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from runtimes.container_spec import ContainerSpec, choose_log_driver
from runtimes.containers.docker.payloads import expected_inspection

Raw = Mapping[str, Any]
# The text for operators, or texts by name.
Value = str | dict[str, str]

_NAMESPACES = ("PidMode", "IpcMode", "UTSMode", "UsernsMode")
_NO_NEW_PRIVILEGES = ("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true")
_UNITS = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))
_CPU = 1_000_000_000
_LONGEST = 200
_DEFAULT_CPU_PERIOD = 100_000
_DEFAULT_CPU_SHARES = 1024
# Docker adds entries to these: the daemon's ulimits and log-opts, the variables of images, which include secrets.
_PARTIAL = frozenset({"ulimits", "environment", "log_options"})
_DECIDED_BY = {
    "read_only_root": "RTMANAGER_CONTAINER_READ_ONLY",
    "tmpfs": "RTMANAGER_CONTAINER_READ_ONLY",
    "user": "RTMANAGER_CONTAINER_USER, else the image",
    "memory": "image label com.galaxy.memory, else RTMANAGER_DEFAULT_MEMORY",
    "memory_and_swap": "image label com.galaxy.memory, else RTMANAGER_DEFAULT_MEMORY",
    "cpus": "image label com.galaxy.cpu_quota, else RTMANAGER_DEFAULT_CPU_QUOTA",
    "processes": "image label com.galaxy.pids_limit, else RTMANAGER_DEFAULT_PIDS_LIMIT",
    "networks": "RTMANAGER_DOCKER_NETWORK",
    "mounts": "RTMANAGER_GAME_STATE_ROOT, RTMANAGER_ENGINE_STATE_MOUNT_PATH",
    "environment": "RTMANAGER_ENGINE_STATE_ENV_NAME",
    "log_driver": "RTMANAGER_CONTAINER_LOG_DRIVER",
    "stop_timeout_seconds": "RTMANAGER_CONTAINER_STOP_TIMEOUT_SECONDS",
}


class ConfigurationKind(StrEnum):
    """What a difference is about, ordered by importance."""

    RESTART_POLICY = "restart_policy"
    HARDENING = "hardening"
    LIMITS = "limits"
    NETWORKS = "networks"
    PORTS = "ports"
    MOUNTS = "mounts"
    NAME = "name"
    ENVIRONMENT = "environment"
    LOGGING = "logging"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class ConfigurationDifference:
    """A field whose value differs from the one RTM would set. ``decided_by`` names the setting or image label."""

    kind: ConfigurationKind
    field: str
    in_force: str
    wanted: str
    decided_by: str


def differences(raw: Raw, spec: ContainerSpec, *, image_user: str | None = None) -> tuple[ConfigurationDifference, ...]:
    """All fields in which the inspected container differs from the specification, the most important kind first.

    ``image_user`` is the ``USER`` of the image, used if the specification has none; None if it is unknown.
    """
    actual, wanted = fields_of(raw), fields_of(expected_inspection(_with_log_driver(spec, raw)))
    hardening, user = ConfigurationKind.HARDENING, spec.user or image_user
    wanted[hardening]["user"] = actual[hardening]["user"] if user is None else user or "root"
    return tuple(
        ConfigurationDifference(kind, name, _text(value), _text(expected), _DECIDED_BY.get(name, ""))
        for kind, fields in wanted.items()
        for name, expected in fields.items()
        if (value := _compared(name, actual[kind][name], expected)) != expected
    )


def _with_log_driver(spec: ContainerSpec, raw: Raw) -> ContainerSpec:
    """With ``auto``, each of the drivers that RTM chooses from is the wanted one."""
    in_force = ((raw.get("HostConfig") or {}).get("LogConfig") or {}).get("Type") or ""
    return replace(spec, log_driver=choose_log_driver(spec.log_driver, (in_force,)))


def _compared(name: str, value: Value, expected: Value) -> Value:
    """The part of the value that is compared."""
    if name in _PARTIAL and isinstance(value, dict):
        return {entry: text for entry, text in value.items() if entry in expected}
    return value


def fields_of(raw: Raw) -> dict[ConfigurationKind, dict[str, Value]]:
    """The normalised fields of an inspection."""
    host, config = raw.get("HostConfig") or {}, raw.get("Config") or {}
    log_config = host.get("LogConfig") or {}
    return {
        ConfigurationKind.RESTART_POLICY: {"restart_policy": _restart_policy(host.get("RestartPolicy") or {})},
        ConfigurationKind.HARDENING: {
            "privileged": _flag(host.get("Privileged")),
            "capabilities_added": _capabilities(host.get("CapAdd")),
            "capabilities_dropped": _capabilities(host.get("CapDrop")),
            "security_options": _security(host.get("SecurityOpt")),
            "read_only_root": _flag(host.get("ReadonlyRootfs")),
            "tmpfs": {path: ",".join(sorted(text.split(","))) for path, text in (host.get("Tmpfs") or {}).items()},
            "user": config.get("User") or "root",
            "extra_groups": _list(host.get("GroupAdd")),
            "shared_namespaces": _namespaces(host),
            "devices": _devices(host),
            "kernel_parameters": {name: str(value) for name, value in (host.get("Sysctls") or {}).items()},
            "init": _flag(host.get("Init")),
        },
        ConfigurationKind.LIMITS: {
            "memory": _bytes(host.get("Memory")),
            "memory_and_swap": _bytes(host.get("MemorySwap")),
            "memory_reservation": _bytes(host.get("MemoryReservation"), unset="none"),
            "cpus": _cpus(host),
            "cpu_shares": str(host.get("CpuShares") or _DEFAULT_CPU_SHARES),
            "cpu_set": host.get("CpusetCpus") or "all",
            "processes": _amount(host.get("PidsLimit"), unset="unlimited"),
            "block_io_weight": _amount(host.get("BlkioWeight"), unset="default"),
            "oom_score": str(host.get("OomScoreAdj") or 0),
            "oom_kill_disabled": _flag(host.get("OomKillDisable")),
            "ulimits": {limit["Name"]: f"{limit['Soft']}:{limit['Hard']}" for limit in host.get("Ulimits") or []},
        },
        ConfigurationKind.NETWORKS: {"networks": _list((raw.get("NetworkSettings") or {}).get("Networks"))},
        ConfigurationKind.PORTS: {"published_ports": _ports(host)},
        ConfigurationKind.MOUNTS: {"mounts": _list(map(_mount, raw.get("Mounts") or []))},
        ConfigurationKind.NAME: {
            "name": (raw.get("Name") or "").removeprefix("/"),
            "host_name": config.get("Hostname") or "",
        },
        ConfigurationKind.ENVIRONMENT: {
            "environment": dict(variable.partition("=")[::2] for variable in config.get("Env") or [])
        },
        ConfigurationKind.LOGGING: {
            "log_driver": log_config.get("Type") or "",
            "log_options": dict(log_config.get("Config") or {}),
        },
        ConfigurationKind.STOPPING: {"stop_timeout_seconds": str(config.get("StopTimeout") or 0)},
    }


def _text(value: Value) -> str:
    plain = value if isinstance(value, str) else _list(f"{name}={text}" for name, text in value.items())
    line = " ".join(plain.split()) or "none"
    # A security option may contain a whole seccomp profile.
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _list(values: Iterable[Any] | None) -> str:
    return ", ".join(sorted(map(str, values or [])))


def _flag(value: Any) -> str:
    return "yes" if value else "no"


def _amount(value: int | None, *, unset: str, unit: str = "") -> str:
    """A limit; Docker writes null, zero or -1 for none."""
    return f"{value}{unit}" if value is not None and value > 0 else unset


def _bytes(value: int | None, *, unset: str = "unlimited") -> str:
    size, unit = next(((size, name) for size, name in _UNITS if value and value % size == 0), (1, "bytes"))
    return _amount(value and value // size, unset=unset, unit=f" {unit}")


def _cpus(host: Raw) -> str:
    """From either way to set it: billionths of a CPU, or a quota of a period."""
    quota, period = host.get("CpuQuota") or 0, host.get("CpuPeriod") or _DEFAULT_CPU_PERIOD
    billionths = host.get("NanoCpus") or max(0, quota) * _CPU // period
    return f"{billionths / _CPU:.12g}" if billionths else "unlimited"


def _restart_policy(policy: Raw) -> str:
    name, most = policy.get("Name") or "no", policy.get("MaximumRetryCount") or 0
    return f"{name}:{most}" if most else str(name)


def _capabilities(names: Iterable[str] | None) -> str:
    return _list({name.upper().removeprefix("CAP_") for name in names or []})


def _security(options: Iterable[str] | None) -> str:
    return _list({"no-new-privileges" if option in _NO_NEW_PRIVILEGES else option for option in options or []})


def _namespaces(host: Raw) -> str:
    modes = {name: host.get(name) or "" for name in _NAMESPACES}
    return _list(f"{name}={mode}" for name, mode in modes.items() if mode == "host" or mode.startswith("container:"))


def _devices(host: Raw) -> str:
    devices = [device.get("PathOnHost") for device in host.get("Devices") or []]
    return _list(
        [*devices, *(request.get("Driver") or "device request" for request in host.get("DeviceRequests") or [])]
    )


def _ports(host: Raw) -> str:
    published = [
        f"{end.get('HostIp') or '0.0.0.0'}:{end.get('HostPort') or 'any'}->{port}"  # noqa: S104 - a text, not a bind
        for port, ends in (host.get("PortBindings") or {}).items()
        for end in ends or []
    ]
    return _list([*published, *(["all exposed ports"] if host.get("PublishAllPorts") else [])])


def _mount(raw: Raw) -> str:
    source = raw.get("Name") if raw.get("Type") == "volume" else posixpath.normpath(raw.get("Source") or "/")
    suffix = "" if raw.get("RW", True) else " (read-only)"
    return f"{raw.get('Type')} {source} on {posixpath.normpath(raw.get('Destination') or '/')}{suffix}"

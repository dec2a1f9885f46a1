"""The engine API's JSON, both ways: a specification to a create request, answers to our own types. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from runtimes.containers.base import (
    Container,
    ContainerDetails,
    ContainerEvent,
    ContainerState,
    EventAction,
    Image,
)
from runtimes.containers.telemetry import ContainerStats
from runtimes.images import qualify_image_ref
from runtimes.specs import LABEL_GAME_ID, ContainerSpec

# Soft and hard: explicit, because the inherited values differ from one engine release to the next. The hard one
# is modest, because an engine without CAP_SYS_RESOURCE cannot grant more than it has, and starts would fail.
_OPEN_FILES = (1024, 16384)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OOM_SCORE = 500
_TMPFS = {"/tmp": "rw,noexec,nosuid,nodev,size=64m"}  # noqa: S108 (a path inside the container)
# The list tells the health check's verdict only inside a text for people, such as "Up 2 hours (unhealthy)".
_LISTED_HEALTH = re.compile(r"\((?:health: )?(starting|healthy|unhealthy)\)$")
_LOG_CONFIG = {
    # Bounded, and never able to stall a game that writes faster than the disk.
    "Type": "local",
    "Config": {"max-size": "10m", "max-file": "3", "mode": "non-blocking", "max-buffer-size": "4m"},
}


def create_request(spec: ContainerSpec) -> dict[str, Any]:
    """The body of the engine's create call."""
    body: dict[str, Any] = {
        "Image": qualify_image_ref(spec.image_ref),
        "Hostname": spec.name,
        "Labels": dict(spec.labels),
        "Env": [f"{name}={value}" for name, value in spec.environment.items()],
        "StopTimeout": spec.stop_grace_seconds,
        "HostConfig": _host_config(spec),
        "NetworkingConfig": {"EndpointsConfig": {spec.network: {}}},
    }
    if spec.user:
        body["User"] = spec.user
    return body


def _host_config(spec: ContainerSpec) -> dict[str, Any]:
    soft, hard = _OPEN_FILES
    return {
        "NetworkMode": spec.network,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "Init": True,
        "RestartPolicy": {"Name": "no"},
        "Ulimits": [{"Name": "nofile", "Soft": soft, "Hard": hard}, {"Name": "core", "Soft": 0, "Hard": 0}],
        "NanoCpus": round(spec.limits.cpu_quota * 1_000_000_000),
        "Memory": spec.limits.memory_bytes,
        # The sum of memory and swap: equal to the memory means no swap.
        "MemorySwap": spec.limits.memory_bytes,
        "PidsLimit": spec.limits.pids_limit,
        # Under memory pressure a game dies before the services of the host.
        "OomScoreAdj": _OOM_SCORE,
        "LogConfig": _LOG_CONFIG,
        # A mount, not a bind: the engine must refuse a missing source instead of creating it.
        "Mounts": [{"Type": "bind", "Source": spec.state_path, "Target": spec.state_mount_path}],
        "ReadonlyRootfs": spec.read_only,
        "Tmpfs": _TMPFS if spec.read_only else {},
    }


def container_from_inspect(raw: Mapping[str, Any]) -> Container:
    """One inspected container, everything filled in."""
    state = raw["State"]
    return Container(
        id=raw["Id"],
        name=raw["Name"].removeprefix("/"),
        state=ContainerState(state["Status"]),
        image_id=raw.get("Image", ""),
        image_ref=raw["Config"].get("Image", ""),
        labels=raw["Config"].get("Labels") or {},
        exit_code=state.get("ExitCode", 0),
        oom_killed=state.get("OOMKilled", False),
        health=_health(state),
        restart_count=raw.get("RestartCount", 0),
        started_at=parse_engine_time(state.get("StartedAt", "")),
        finished_at=parse_engine_time(state.get("FinishedAt", "")),
        addresses=_addresses(raw),
    )


def details_from_inspect(raw: Mapping[str, Any]) -> ContainerDetails:
    """One inspected container with what is in force for it and the engine's own words."""
    return ContainerDetails(container=container_from_inspect(raw), limits=limits_in_force(raw), raw=raw)


def limits_in_force(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What an inspection says of limits, hardening and surroundings."""
    host, config = raw.get("HostConfig") or {}, raw.get("Config") or {}
    log_config = host.get("LogConfig") or {}
    return {
        "memory_bytes": host.get("Memory") or 0,
        "memory_swap_bytes": host.get("MemorySwap") or 0,
        "nano_cpus": host.get("NanoCpus") or 0,
        "pids_limit": host.get("PidsLimit") or 0,
        "oom_score_adj": host.get("OomScoreAdj") or 0,
        "read_only": bool(host.get("ReadonlyRootfs")),
        "privileged": bool(host.get("Privileged")),
        "init": bool(host.get("Init")),
        "user": config.get("User") or "",
        "cap_drop": host.get("CapDrop") or [],
        "cap_add": host.get("CapAdd") or [],
        "security_opt": host.get("SecurityOpt") or [],
        "ulimits": {one["Name"]: [one["Soft"], one["Hard"]] for one in host.get("Ulimits") or []},
        "networks": sorted((raw.get("NetworkSettings") or {}).get("Networks") or {}),
        "mounts": [_mount(one) for one in raw.get("Mounts") or []],
        "tmpfs": dict(host.get("Tmpfs") or {}),
        "restart_policy": (host.get("RestartPolicy") or {}).get("Name") or "no",
        "log_config": {"driver": log_config.get("Type") or "", "options": dict(log_config.get("Config") or {})},
        "stop_grace_seconds": config.get("StopTimeout"),
    }


def _mount(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": raw.get("Type", ""),
        "source": raw.get("Source", ""),
        "target": raw.get("Destination", ""),
        "read_only": not raw.get("RW", True),
    }


def stats_from_json(raw: Mapping[str, Any]) -> ContainerStats | None:
    """One measurement with the one a second before it; None when the container does not run."""
    at = parse_engine_time(raw.get("read", ""))
    memory = raw.get("memory_stats") or {}
    if at is None or not (raw.get("cpu_stats") or {}).get("system_cpu_usage"):
        return None
    networks = (raw.get("networks") or {}).values()
    return ContainerStats(
        at=at,
        cpu_percent=_cpu_percent(raw["cpu_stats"], raw.get("precpu_stats") or {}),
        memory_bytes=max(0, memory.get("usage", 0) - _reclaimable(memory.get("stats") or {})),
        memory_limit_bytes=memory.get("limit", 0),
        pids=(raw.get("pids_stats") or {}).get("current", 0),
        network_rx_bytes=sum(one.get("rx_bytes", 0) for one in networks),
        network_tx_bytes=sum(one.get("tx_bytes", 0) for one in networks),
    )


def _cpu_percent(now: Mapping[str, Any], before: Mapping[str, Any]) -> float:
    """The container's share of the time that all cores had, in percent of one core."""
    # Without an earlier measurement there is no period: the counters since the start would be an average of its life.
    if not before.get("system_cpu_usage"):
        return 0.0
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    passed = now["system_cpu_usage"] - before["system_cpu_usage"]
    cores = now.get("online_cpus") or len(now["cpu_usage"].get("percpu_usage") or [0])
    return round(used / passed * cores * 100, 2) if used > 0 and passed > 0 else 0.0


def _reclaimable(memory: Mapping[str, int]) -> int:
    # The first is the name under the old control groups, the second under the new.
    return memory.get("total_inactive_file", memory.get("inactive_file", 0))


def container_from_list(raw: Mapping[str, Any]) -> Container:
    """One entry of the engine's list, which knows less than an inspection."""
    # Links add names of the form /other/alias; the container's own is the one without a second slash.
    names = [name.removeprefix("/") for name in raw.get("Names") or []]
    return Container(
        id=raw["Id"],
        name=next((name for name in names if "/" not in name), ""),
        state=ContainerState(raw["State"]),
        image_id=raw.get("ImageID", ""),
        image_ref=raw.get("Image", ""),
        labels=raw.get("Labels") or {},
        health=_listed_health(raw),
        addresses=_addresses(raw),
    )


def image_from_inspect(raw: Mapping[str, Any]) -> Image:
    """One local image."""
    digests = [name.partition("@")[2] for name in raw.get("RepoDigests") or []]
    labels = (raw.get("Config") or {}).get("Labels") or {}
    return Image(id=raw["Id"], labels=labels, digest=next(iter(digests), ""))


def log_query(*, tail: int, since: datetime | None) -> dict[str, Any]:
    """What is asked of the log: both streams, the time in front of each message."""
    query: dict[str, Any] = {"stdout": 1, "stderr": 1, "timestamps": 1, "tail": tail}
    if since is not None:
        microseconds = (since - _EPOCH) // timedelta(microseconds=1)
        query["since"] = f"{microseconds // 10**6}.{microseconds % 10**6:06d}"
    return query


def event_from_json(raw: Mapping[str, Any]) -> ContainerEvent | None:
    """One entry of the engine's event stream; None when it is of a kind that does not matter here."""
    if raw.get("Type") != "container" or raw.get("Action") not in set(EventAction):
        return None
    actor = raw["Actor"]
    labels = actor.get("Attributes") or {}
    return ContainerEvent(actor["ID"], labels.get(LABEL_GAME_ID, ""), EventAction(raw["Action"]), raw["timeNano"])


def parse_engine_time(text: str) -> datetime | None:
    """An RFC 3339 time with up to nanoseconds, in UTC, cut to microseconds; None for empty and for year one."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    # The engine's way to say "never".
    return None if moment.year == 1 else moment.astimezone(UTC)


def _health(state: Mapping[str, Any]) -> str:
    status = (state.get("Health") or {}).get("Status", "")
    return "" if status == "none" else str(status)


def _listed_health(raw: Mapping[str, Any]) -> str:
    found = _LISTED_HEALTH.search(raw.get("Status") or "")
    return found[1] if found else ""


def _addresses(raw: Mapping[str, Any]) -> dict[str, str]:
    networks = (raw.get("NetworkSettings") or {}).get("Networks") or {}
    found = {name: end.get("IPAddress") or end.get("GlobalIPv6Address") for name, end in networks.items() if end}
    return {name: address for name, address in found.items() if address}

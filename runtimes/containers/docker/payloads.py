"""The JSON of the Docker API: builds create requests and parses responses. Pure."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from runtimes.container_spec import (
    LABEL_GAME_ID,
    LABEL_OWNER,
    LABEL_STACK,
    OWNER,
    ContainerSpec,
    choose_log_driver,
)
from runtimes.containers.base import Container, ContainerDetails, ContainerEvent, ContainerState, EventAction, Image
from runtimes.containers.types import ContainerStats
from runtimes.formatting import to_unix
from runtimes.image_refs import qualify_image_ref

_TMPFS = {"/tmp": "rw,noexec,nosuid,nodev,size=64m"}  # noqa: S108 (a path inside the container)
# The list reports the health status only inside a display text, such as "Up 2 hours (unhealthy)".
_LISTED_HEALTH = re.compile(r"\((?:health: )?(starting|healthy|unhealthy)\)$")
# Bounded and non-blocking: a game that writes faster than the disk is not stalled.
_DOCKER_LOG_OPTIONS = {"max-size": "10m", "max-file": "3", "mode": "non-blocking", "max-buffer-size": "4m"}
# Podman keeps one file per container, and has no other option.
_LOG_OPTIONS = {
    "local": _DOCKER_LOG_OPTIONS, "json-file": _DOCKER_LOG_OPTIONS, "k8s-file": {"max-size": "30m"},
}  # fmt: skip


def create_request(spec: ContainerSpec) -> dict[str, Any]:
    """The body of Docker's create request. Without a chosen log driver it has the first one, which is Docker's."""
    body: dict[str, Any] = {
        "Image": qualify_image_ref(spec.image),
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
    log_driver = choose_log_driver(spec.log_driver, ())
    return {
        "NetworkMode": spec.network,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "Init": True,
        "RestartPolicy": {"Name": "no"},
        # Set explicitly because the defaults differ between Docker releases. The hard limit is modest: a daemon
        # without CAP_SYS_RESOURCE cannot grant more than it has itself, and starts would fail.
        "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 16384}, {"Name": "core", "Soft": 0, "Hard": 0}],
        "NanoCpus": round(spec.limits.cpu_quota * 1_000_000_000),
        "Memory": spec.limits.memory_bytes,
        # The sum of memory and swap: the same value as Memory disables swap.
        "MemorySwap": spec.limits.memory_bytes,
        "PidsLimit": spec.limits.pids_limit,
        # Under memory pressure, the kernel kills a game before the services of the host.
        "OomScoreAdj": 500,
        "LogConfig": {"Type": log_driver, "Config": _LOG_OPTIONS[log_driver]},
        "Mounts": _mounts(spec),
        "ReadonlyRootfs": spec.read_only,
        # Docker accepts only one mount per path.
        "Tmpfs": _TMPFS if spec.read_only and _TMPFS.keys().isdisjoint(mount.target for mount in spec.volumes) else {},
    }


def _mounts(spec: ContainerSpec) -> list[dict[str, Any]]:
    # "Mounts" instead of "Binds": Docker must reject a missing source instead of creating it.
    state = {"Type": "bind", "Source": spec.state_path, "Target": spec.state_mount_path}
    return [state] + [
        {
            "Type": "bind",
            "Source": f"{spec.state_path}/{mount.subdirectory}",
            "Target": mount.target,
            "ReadOnly": mount.read_only,
        }
        for mount in spec.volumes
    ]


def expected_inspection(spec: ContainerSpec) -> dict[str, Any]:
    """The configuration part of the inspection of a container with this specification."""
    request = create_request(spec)
    host, networking = request.pop("HostConfig"), request.pop("NetworkingConfig")
    return {
        "Name": f"/{spec.name}",
        "Config": request,
        "HostConfig": host,
        "NetworkSettings": {"Networks": networking["EndpointsConfig"]},
        "Mounts": [
            {**mount, "Destination": mount["Target"], "RW": not mount.get("ReadOnly")} for mount in host["Mounts"]
        ],
    }


def container_from_inspect(raw: Mapping[str, Any]) -> Container:
    """Parse an inspection; all fields are filled in."""
    state = raw["State"]
    health = (state.get("Health") or {}).get("Status", "")
    return Container(
        id=raw["Id"],
        name=raw["Name"].removeprefix("/"),
        state=ContainerState(state["Status"]),
        image_id=raw.get("Image", ""),
        image_ref=raw["Config"].get("Image", ""),
        labels=raw["Config"].get("Labels") or {},
        exit_code=state.get("ExitCode", 0),
        oom_killed=state.get("OOMKilled", False),
        health="" if health == "none" else health,
        restart_count=raw.get("RestartCount", 0),
        started_at=parse_docker_time(state.get("StartedAt", "")),
        finished_at=parse_docker_time(state.get("FinishedAt", "")),
        addresses=_addresses(raw),
    )


def details_from_inspect(raw: Mapping[str, Any]) -> ContainerDetails:
    """Parse an inspection, with limits in force and the raw response."""
    return ContainerDetails(container=container_from_inspect(raw), limits=limits_in_force(raw), raw=raw)


def limits_in_force(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Limits, hardening, networks and mounts of an inspection."""
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
        "ulimits": {limit["Name"]: [limit["Soft"], limit["Hard"]] for limit in host.get("Ulimits") or []},
        "networks": sorted((raw.get("NetworkSettings") or {}).get("Networks") or {}),
        "mounts": [
            {
                "type": mount.get("Type", ""),
                "source": mount.get("Source", ""),
                "target": mount.get("Destination", ""),
                "read_only": not mount.get("RW", True),
            }
            for mount in raw.get("Mounts") or []
        ],
        "tmpfs": dict(host.get("Tmpfs") or {}),
        "restart_policy": (host.get("RestartPolicy") or {}).get("Name") or "no",
        "log_config": {"driver": log_config.get("Type") or "", "options": dict(log_config.get("Config") or {})},
        "stop_grace_seconds": config.get("StopTimeout"),
    }


def stats_from_json(raw: Mapping[str, Any]) -> ContainerStats | None:
    """Parse one measurement, which includes the one a second before. None if the container does not run."""
    at = parse_docker_time(raw.get("read", ""))
    memory = raw.get("memory_stats") or {}
    if at is None or not (raw.get("cpu_stats") or {}).get("system_cpu_usage"):
        return None
    pages = memory.get("stats") or {}
    # The first name is that of cgroups v1, the second that of v2.
    reclaimable = pages.get("total_inactive_file", pages.get("inactive_file", 0))
    networks = (raw.get("networks") or {}).values()
    return ContainerStats(
        at=at,
        cpu_percent=_cpu_percent(raw["cpu_stats"], raw.get("precpu_stats") or {}),
        memory_bytes=max(0, memory.get("usage", 0) - reclaimable),
        memory_limit_bytes=memory.get("limit", 0),
        pids=(raw.get("pids_stats") or {}).get("current", 0),
        network_rx_bytes=sum(network.get("rx_bytes", 0) for network in networks),
        network_tx_bytes=sum(network.get("tx_bytes", 0) for network in networks),
    )


def _cpu_percent(now: Mapping[str, Any], before: Mapping[str, Any]) -> float:
    """CPU usage between the two measurements, in percent of one core."""
    # Without an earlier measurement, the counters would give the average since the start.
    if not before.get("system_cpu_usage"):
        return 0.0
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    passed = now["system_cpu_usage"] - before["system_cpu_usage"]
    cores = now.get("online_cpus") or len(now["cpu_usage"].get("percpu_usage") or [0])
    return round(used / passed * cores * 100, 2) if used > 0 and passed > 0 else 0.0


def container_from_list(raw: Mapping[str, Any]) -> Container:
    """Parse one entry of Docker's list, which has fewer fields than an inspection."""
    # Links add names of the form /other/alias; the container's own name has no second slash.
    names = [name.removeprefix("/") for name in raw.get("Names") or []]
    health = _LISTED_HEALTH.search(raw.get("Status") or "")
    return Container(
        id=raw["Id"],
        name=next((name for name in names if "/" not in name), ""),
        state=ContainerState(raw["State"]),
        image_id=raw.get("ImageID", ""),
        image_ref=raw.get("Image", ""),
        labels=raw.get("Labels") or {},
        health=health[1] if health else "",
        addresses=_addresses(raw),
    )


def image_from_inspect(raw: Mapping[str, Any]) -> Image:
    """Parse the inspection of a local image."""
    digests = raw.get("RepoDigests") or [""]
    config = raw.get("Config") or {}
    return Image(
        id=raw["Id"],
        labels=config.get("Labels") or {},
        digest=digests[0].partition("@")[2],
        volumes=tuple(sorted(config.get("Volumes") or {})),
        user=config.get("User") or "",
    )


def log_query(*, tail: int, since: datetime | None) -> dict[str, Any]:
    """The query of a log request: both streams, with a timestamp before each message."""
    query: dict[str, Any] = {"stdout": 1, "stderr": 1, "timestamps": 1, "tail": tail}
    if since is not None:
        microseconds = to_unix(since, timedelta(microseconds=1))
        query["since"] = f"{microseconds // 10**6}.{microseconds % 10**6:06d}"
    return query


def event_from_json(raw: Mapping[str, Any]) -> ContainerEvent | None:
    """Parse one entry of Docker's event stream; None for an event that RTM does not use."""
    if raw.get("Type") != "container" or raw.get("Action") not in set(EventAction):
        return None
    actor = raw["Actor"]
    labels = actor.get("Attributes") or {}
    action, code = EventAction(raw["Action"]), labels.get("exitCode", "")
    exit_code = int(code) if action == EventAction.DIE and code.isdecimal() else None
    return ContainerEvent(actor["ID"], labels.get(LABEL_GAME_ID, ""), action, raw["timeNano"], exit_code)


def parse_docker_time(text: str) -> datetime | None:
    """Parse an RFC 3339 time, truncated to microseconds, in UTC. None for an empty text and for year one."""
    if not text:
        return None
    at = datetime.fromisoformat(text)
    # Docker writes year one for "never".
    return None if at.year == 1 else at.astimezone(UTC)


def _addresses(raw: Mapping[str, Any]) -> dict[str, str]:
    networks = (raw.get("NetworkSettings") or {}).get("Networks") or {}
    addresses = {name: end.get("IPAddress") or end.get("GlobalIPv6Address") for name, end in networks.items() if end}
    return {name: address for name, address in addresses.items() if address}


def owned_filter(stack: str) -> dict[str, list[str]]:
    """The Docker filter for our containers of this stack."""
    return {"label": [f"{LABEL_OWNER}={OWNER}", f"{LABEL_STACK}={stack}"]}


def pull_failure(progress: Iterator[dict[str, Any]]) -> str:
    """The last error text of a pull, or empty. Reads to the end: Docker cancels a pull whose reader stops."""
    failures = [str(entry["error"]) for entry in progress if "error" in entry]
    return failures[-1] if failures else ""

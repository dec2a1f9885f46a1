"""What the container engine says of itself, for those who look after it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

# What a game's container is limited in → how the engine says that this host keeps the limit.
_LIMITS = {"memory": "MemoryLimit", "swap": "SwapLimit", "processor": "CpuCfsQuota", "processes": "PidsLimit"}


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers. ``limits``: whether this host keeps each kind; ``now`` is None when it is not told."""

    version: str
    api_version: str
    os_type: str = "linux"
    live_restore: bool = False
    limits: Mapping[str, bool] = field(default_factory=dict)
    now: datetime | None = None


def engine_from_info(info: Mapping[str, Any], *, api_version: str) -> Engine:
    """Read the answer to ``GET /info``."""
    told = str(info.get("SystemTime", ""))
    return Engine(
        version=str(info["ServerVersion"]),
        api_version=api_version,
        os_type=str(info.get("OSType", "linux")),
        live_restore=bool(info.get("LiveRestoreEnabled")),
        limits={name: bool(info.get(key)) for name, key in _LIMITS.items()},
        # Docker tells nanoseconds, of which Python keeps six digits.
        now=datetime.fromisoformat(told) if told else None,
    )

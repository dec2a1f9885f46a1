"""The processes of the service, as the supervisor runs them."""

import math
import sys
from collections.abc import Mapping

from deploy.local.servers.supervision import Program
from deploy.local.workspace import CLONE
from rtmanager.config import PREFIX, Config

_STOP_MARGIN_SECONDS = 10
_TOGETHER = ("web", "worker", "run_loops")
_SPLIT = ("web", "worker", "bridge_jobs", "relay_events", "watch_runtimes", "run_scheduler")


def service_programs(
    config: Config, *, split: bool = False, copies: Mapping[str, int] | None = None, python: str = sys.executable
) -> list[Program]:
    """Return web, worker and the loops. The loops run in one process, or in four with ``split``.

    The supervisor kills a process only after the whole shutdown timeout. ``copies`` is the number of processes per
    program; the second worker is named ``worker-2``.
    """
    stop_wait_seconds = math.ceil(config.shutdown_timeout.total_seconds()) + _STOP_MARGIN_SECONDS
    return [
        Program(
            name=kind if number == 1 else f"{kind}-{number}",
            command=(python, *_arguments(kind, config, number=number)),
            group="service",
            stop_wait_seconds=stop_wait_seconds,
            environment=_gateway_socket(kind, config) if uses_gateway(config) else {},
        )
        for kind in (_SPLIT if split else _TOGETHER)
        for number in range(1, (copies or {}).get(kind, 1) + 1)
    ]


def gateway_programs(config: Config, *, python: str = sys.executable) -> list[Program]:
    """Return the Docker gateway. It starts before the service and stops after it, as the servers do."""
    command = (python, str(CLONE / "manage.py"), "docker_gateway")
    return [Program(name="docker_gateway", command=command, group="servers")] if uses_gateway(config) else []


def uses_gateway(config: Config) -> bool:
    """Whether the service can use Docker through the gateway, which needs a socket of Docker on this machine."""
    return config.docker_host.startswith("unix://")


def _gateway_socket(kind: str, config: Config) -> dict[str, str]:
    role = "operate" if kind == "worker" else "watch"
    return {f"{PREFIX}DOCKER_HOST": f"unix://{config.docker_gateway_dir}/{role}.sock"}


def _arguments(kind: str, config: Config, *, number: int) -> tuple[str, ...]:
    """Return the arguments of the interpreter. The loops are management commands."""
    return {
        "web": ("manage.py", "run_web"),
        "worker": (
            "-m", "celery", "-A", "rtmanager", "worker", "-P", "threads", "-c", str(config.worker_concurrency),
            "-Q", "lifecycle,periodic,reads", "--without-gossip", "--without-mingle", "--without-heartbeat",
            "-n", f"worker{number}@%h",
        ),
    }.get(kind, ("manage.py", kind))  # fmt: skip

"""The kinds of process of the service, as the supervisor runs them."""

import math
import sys
from collections.abc import Mapping

from rtmanager.config import Config
from rtmanager.local.supervision import Program

_STOP_MARGIN_SECONDS = 10
_TOGETHER = ("web", "worker", "run_loops")
_SPLIT = ("web", "worker", "bridge_jobs", "relay_events", "watch_runtimes", "keep_time")


def service_programs(
    config: Config, *, split: bool = False, copies: Mapping[str, int] | None = None, python: str = sys.executable
) -> list[Program]:
    """Web, worker and the loops, in one process or ``split`` into four; each may take the whole shutdown time-out
    before it is killed.

    ``copies`` says of which there are several; the second worker is called ``worker-2``.
    """
    stop_wait_seconds = math.ceil(config.shutdown_timeout.total_seconds()) + _STOP_MARGIN_SECONDS
    return [
        Program(
            name=kind if number == 1 else f"{kind}-{number}",
            command=(python, *_arguments(kind, config, number=number)),
            group="service",
            stop_wait_seconds=stop_wait_seconds,
        )
        for kind in (_SPLIT if split else _TOGETHER)
        for number in range(1, (copies or {}).get(kind, 1) + 1)
    ]


def _arguments(kind: str, config: Config, *, number: int) -> tuple[str, ...]:
    """What follows the interpreter; the loops are management commands."""
    return {
        "web": ("-m", "gunicorn", "-c", "python:rtmanager.gunicorn", "rtmanager.wsgi:application"),
        "worker": (
            "-m", "celery", "-A", "rtmanager", "worker", "-P", "threads", "-c", str(config.worker_concurrency),
            "-Q", "lifecycle,periodic", "--without-gossip", "--without-mingle", "--without-heartbeat",
            "-n", f"worker{number}@%h",
        ),
    }.get(kind, ("manage.py", kind))  # fmt: skip

"""The six kinds of process of the service, as the supervisor runs them."""

import math
import sys
from collections.abc import Mapping

from rtmanager.config import Config
from rtmanager.local.supervision import Program

_STOP_MARGIN_SECONDS = 10
_KINDS = ("web", "bridge_jobs", "relay_events", "watch_runtimes", "worker", "beat")


def service_programs(
    config: Config, *, copies: Mapping[str, int] | None = None, python: str = sys.executable
) -> list[Program]:
    """Web, bridge, relay, watcher, worker and beat; each may take the whole shutdown time-out before it is killed.

    ``copies`` says of which there are several; the second worker is called ``worker-2``.
    """
    stop_wait_seconds = math.ceil(config.shutdown_timeout.total_seconds()) + _STOP_MARGIN_SECONDS
    return [
        Program(
            name=kind if number == 1 else f"{kind}-{number}",
            command=(python, *_arguments(config, number=number)[kind]),
            group="service",
            stop_wait_seconds=stop_wait_seconds,
        )
        for kind in _KINDS
        for number in range(1, (copies or {}).get(kind, 1) + 1)
    ]


def _arguments(config: Config, *, number: int) -> Mapping[str, tuple[str, ...]]:
    return {
        "web": ("-m", "gunicorn", "-c", "python:rtmanager.gunicorn", "rtmanager.wsgi:application"),
        "bridge_jobs": ("manage.py", "bridge_jobs"),
        "relay_events": ("manage.py", "relay_events"),
        "watch_runtimes": ("manage.py", "watch_runtimes"),
        "worker": (
            "-m", "celery", "-A", "rtmanager", "worker", "-P", "threads", "-c", str(config.worker_concurrency),
            "-Q", "lifecycle,periodic", "--without-gossip", "--without-mingle", "-n", f"worker{number}@%h",
        ),
        # The plain scheduler keeps its times in memory: no schedule file to lose or lock.
        "beat": ("-m", "celery", "-A", "rtmanager", "beat", "-S", "celery.beat:Scheduler", "--pidfile="),
    }  # fmt: skip

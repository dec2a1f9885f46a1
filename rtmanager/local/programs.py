"""The six processes of the service, as the supervisor runs them."""

import math
import sys

from rtmanager.config import Config
from rtmanager.local.supervision import Program

_STOP_MARGIN_SECONDS = 10


def service_programs(config: Config) -> list[Program]:
    """Web, bridge, relay, watcher, worker and beat; each may take the whole shutdown time-out before it is killed."""
    commands = {
        "web": ("-m", "gunicorn", "-c", "python:rtmanager.gunicorn", "rtmanager.wsgi:application"),
        "bridge_jobs": ("manage.py", "bridge_jobs"),
        "relay_events": ("manage.py", "relay_events"),
        "watch_runtimes": ("manage.py", "watch_runtimes"),
        "worker": (
            "-m", "celery", "-A", "rtmanager", "worker", "-P", "threads", "-c", str(config.worker_concurrency),
            "-Q", "lifecycle,periodic", "--without-gossip", "--without-mingle", "-n", "worker1@%h",
        ),
        # The plain scheduler keeps its times in memory: no schedule file to lose or lock.
        "beat": ("-m", "celery", "-A", "rtmanager", "beat", "-S", "celery.beat:Scheduler", "--pidfile="),
    }  # fmt: skip
    stop_wait_seconds = math.ceil(config.shutdown_timeout.total_seconds()) + _STOP_MARGIN_SECONDS
    return [
        Program(
            name=name,
            command=(sys.executable, *arguments),
            group="service",
            stop_wait_seconds=stop_wait_seconds,
        )
        for name, arguments in commands.items()
    ]

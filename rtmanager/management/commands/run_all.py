"""``manage.py run_all``: web process, loops and worker as children of one process, for one container."""

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from tasks.broker import queues

_POLL_SECONDS = 0.2
# After its own shutdown timeout a process may need this long to end.
_MARGIN_SECONDS = 5.0


class Command(BaseCommand):
    """Run until SIGTERM, or until one child ends; then end the others. Raises CommandError if a child ended first."""

    help = "Run web process, all loops and one worker until SIGTERM; end when one of them ends."
    requires_system_checks = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        stopping = threading.Event()

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            stopping.set()

        signal.signal(signal.SIGTERM, on_signal)
        signal.signal(signal.SIGINT, on_signal)
        children = {name: subprocess.Popen(command) for name, command in commands().items()}  # noqa: S603 - fixed commands
        while not stopping.wait(_POLL_SECONDS) and all(child.poll() is None for child in children.values()):
            pass
        ended = {name: child.returncode for name, child in children.items() if child.poll() is not None}
        _stop(list(children.values()))
        if ended and not stopping.is_set():
            described = ", ".join(f"{name} (exit code {code})" for name, code in ended.items())
            message = f"ended first: {described}; the other processes were stopped. See the log lines above."
            raise CommandError(message)


def commands() -> dict[str, Sequence[str]]:
    """The command of each child, by its name."""
    return {
        "web": (sys.executable, "-m", "rtmanager", "run_web"),
        "loops": (sys.executable, "-m", "rtmanager", "run_loops"),
        "worker": (
            sys.executable, "-m", "celery", "-A", "rtmanager", "worker", "-P", "threads",
            "-c", str(settings.RTMANAGER.worker_concurrency), "-Q", ",".join(queues()),
            "--without-gossip", "--without-mingle", "--without-heartbeat", "-n", "worker@%h",
        ),
    }  # fmt: skip


def _stop(children: Sequence["subprocess.Popen[bytes]"]) -> None:
    for child in children:
        child.terminate()
    seconds = settings.RTMANAGER.shutdown_timeout.total_seconds() + _MARGIN_SECONDS
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
        child.kill()
        child.wait()

"""How gunicorn serves the web process: ``gunicorn -c python:rtmanager.gunicorn rtmanager.wsgi``.

One process of many threads: a call that waits for its operation holds a thread and next to nothing else.
"""

import gc
import os
import signal
import socket
from importlib import import_module
from types import FrameType
from typing import Any

from django.conf import settings
from gunicorn.glogging import Logger  # type: ignore[import-untyped]

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rtmanager.settings")


def bind_addresses(internal_http_addr: str) -> list[str]:
    """What to bind for an address of the settings; without a host, all of IPv4 and, where there is any, IPv6."""
    host, _separator, port = internal_http_addr.rpartition(":")
    if host:
        return [internal_http_addr]
    return [f"[::]:{port}"] if _has_dual_stack() else [f"0.0.0.0:{port}"]


class StructuredLogger(Logger):  # type: ignore[misc]
    """Sends gunicorn's own lines through our handler: one format for the whole log."""

    def setup(self, cfg: Any) -> None:
        """Undo what gunicorn sets up for itself; also called on a reload."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def _has_dual_stack() -> bool:
    if not socket.has_dualstack_ipv6():
        return False
    # Kernels with IPv6 switched off still make the socket and refuse only to bind it.
    try:
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True):
            return True
    except OSError:
        return False


bind = bind_addresses(settings.RTMANAGER.internal_http_addr)
worker_class = "gthread"
workers = 1
threads = settings.RTMANAGER.web_threads
graceful_timeout = max(1, int(settings.RTMANAGER.shutdown_timeout.total_seconds()))
keepalive = 5
max_requests = 0
# The parent loads everything and its child uses the same pages of memory. Nothing that is loaded starts a thread or
# opens a connection; those would not survive the fork.
preload_app = True
proc_name = "rtmanager-web"
logger_class = StructuredLogger
# Our own middleware logs requests; no control socket and no pid file are left on the disk.
accesslog = None
control_socket_disable = True
pidfile = None


def pre_fork(_server: Any, _worker: Any) -> None:
    """Leave to the child as much as can be shared with it."""
    # Django would look for it at the first request, in the child.
    import_module(settings.ROOT_URLCONF)
    gc.collect()
    # The collector of the child keeps off: it writes to all that it looks at, and a page written to is shared no more.
    gc.freeze()


def post_worker_init(_worker: Any) -> None:
    """On SIGTERM, answer the calls that wait before the time for a graceful end is over, then end as gunicorn does."""
    from operations.api.waiting import stop_waiting  # noqa: PLC0415 - Django is set up only now
    from runtimes.following import stop_following  # noqa: PLC0415 - the same

    end_worker = signal.getsignal(signal.SIGTERM)

    def on_term(number: int, frame: FrameType | None) -> None:
        stop_waiting()
        stop_following()
        if callable(end_worker):
            end_worker(number, frame)

    signal.signal(signal.SIGTERM, on_term)

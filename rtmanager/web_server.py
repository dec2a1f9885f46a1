"""The web server: waitress, with limits on slow clients and threads of their own for the health endpoints.

One thread reads requests and writes responses. A request reaches a thread of the application only when its body is
complete, so a slow or silent client never occupies one. ``manage.py run_web`` starts it.
"""

import json
import logging
import resource
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

import structlog
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher
from waitress.utilities import InternalServerError, RequestEntityTooLarge

from runtimes.api.base.exceptions import envelope
from runtimes.exceptions import ErrorCode
from runtimes.process import shutting_down

log = structlog.get_logger(__name__)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_BACKLOG = 1024
# Files, database and Redis connections of the process, beside its clients.
_OTHER_FILES = 512
_MAX_HEADER_BYTES = 32 * 1024
# Far above any valid body. Between the limit of the API and this one, the API explains the error.
_MAX_BODY_BYTES = 16 * 1024 * 1024
# Larger bodies and responses go to temporary files.
_MEMORY_BYTES_PER_BODY = 128 * 1024

# Path → number of threads that serve nothing else. Nothing that /readyz waits for delays /healthz.
_HEALTH_THREADS = {"/healthz": 1, "/readyz": 2, "/metrics": 1}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take of the server. The idle time is above the 60 s of nginx, which then closes first."""

    header_seconds: float = 10.0
    request_seconds: float = 60.0
    idle_seconds: float = 75.0
    unread_response_seconds: float = 60.0
    connections_per_client: int = 256
    connections: int = 1024


class RequestParser(HTTPRequestParser):  # type: ignore[misc]
    """A request that is being received, and when its first byte came. A malformed one has no path."""

    path = ""

    def __init__(self, adj: Adjustments) -> None:
        super().__init__(adj)
        self.started_at = time.time()


class ErrorResponse(ErrorTask):  # type: ignore[misc]
    """The response to a request that is no valid HTTP, in the format of the API."""

    def execute(self) -> None:
        """Send the envelope and close the connection."""
        error = self.request.error
        code = ErrorCode.INTERNAL_ERROR if isinstance(error, InternalServerError) else ErrorCode.INVALID_REQUEST
        body = json.dumps(envelope(code, f"{error.reason.lower()}: {error.body}")).encode()
        # The contract has one status for a body that is too large, wherever it is found.
        self.status = "400 Bad Request" if isinstance(error, RequestEntityTooLarge) else f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json; charset=utf-8"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Connection(HTTPChannel):  # type: ignore[misc]
    """One connection of a client."""

    parser_class = RequestParser
    error_task_class = ErrorResponse

    def is_overdue(self, now: float) -> bool:
        """Return whether the client took too long to send its request or to read its response."""
        limits, silent_seconds = self.server.limits, now - self.last_activity
        if self.total_outbufs_len:
            return bool(silent_seconds > limits.unread_response_seconds)
        if self.requests:
            return False
        if self.request is None:
            return bool(silent_seconds > limits.idle_seconds)
        longest = limits.request_seconds if self.request.headers_finished else limits.header_seconds
        return bool(now - self.request.started_at > longest)


class WebServer(TcpWSGIServer):  # type: ignore[misc]
    """Serves a WSGI application on one listening socket.

    A client above its number of connections loses the one that is silent for the longest time, so a new connection,
    such as that of a health check, is always served.
    """

    channel_class = Connection

    def __init__(
        self, application: Application, listener: socket.socket, *, threads: int, limits: Limits | None = None
    ) -> None:
        self.limits = limits or Limits()
        self._threads = _dispatcher(threads)
        self._health_threads = {path: _dispatcher(count) for path, count in _HEALTH_THREADS.items()}
        super().__init__(
            _without_body_for_head(application),
            map={},
            _sock=listener,
            bind_socket=False,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            dispatcher=self._threads,
            adj=_adjustments(self.limits.connections),
        )

    def add_task(self, task: Connection) -> None:
        """Queue the next request of this connection for a thread."""
        self._health_threads.get(task.requests[0].path, self._threads).add_task(task)

    def handle_accept(self) -> None:
        super().handle_accept()
        if len(self.active_channels) > self.limits.connections_per_client:
            self._close_excess()

    def maintenance(self, now: float) -> None:
        """Close the connections of clients that are too slow. Runs once a second."""
        for connection in list(self.active_channels.values()):
            if connection.is_overdue(now):
                connection.handle_close()

    def run(self) -> None:
        """Serve until the process shuts down, then finish the requests that run."""
        while not shutting_down.is_set():
            self._poll(seconds=1)

    def stop(self) -> None:
        """Make ``run`` return. Safe in a signal handler, and when the server has stopped already."""
        shutting_down.set()
        with suppress(OSError):
            self.pull_trigger()

    def drain(self, seconds: float) -> None:
        """Accept nothing more, and wait for the running requests, at most this long. Then close all connections."""
        wasyncore.dispatcher.close(self)
        deadline = time.monotonic() + seconds
        while (busy := self._busy()) and time.monotonic() < deadline:
            for connection in set(self.active_channels.values()) - busy:
                connection.handle_close()
            self._poll(seconds=0.1)
        wasyncore.close_all(self._map)

    def _busy(self) -> set[Connection]:
        return {c for c in self.active_channels.values() if c.requests or c.total_outbufs_len}

    def _poll(self, *, seconds: float) -> None:
        wasyncore.loop(timeout=seconds, use_poll=True, map=self._map, count=1)

    def _close_excess(self) -> None:
        connections = self.active_channels.values()
        counts = Counter(connection.addr[0] for connection in connections)
        most = max(counts.values())
        if most <= self.limits.connections_per_client and len(connections) <= self.limits.connections:
            return
        closable = [c for c in connections if counts[c.addr[0]] == most and not c.requests]
        if closable:
            min(closable, key=lambda connection: connection.last_activity).handle_close()


def serve(application: Application, address: str, *, threads: int, drain_seconds: float) -> None:
    """Serve on this address until SIGTERM or SIGINT. Raises OSError if the address cannot be bound."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    server = WebServer(application, listen(address), threads=threads)
    _allow_files(server.limits.connections + _OTHER_FILES)

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    log.info("process_started", address=address, threads=threads)
    server.run()
    server.drain(drain_seconds)
    log.info("process_stopped")


def listen(address: str) -> socket.socket:
    """Bind ``host:port``. Without a host that is all of IPv4 and, if the machine has it, IPv6."""
    host, _separator, port = address.rpartition(":")
    if host:
        family, _kind, _protocol, _name, bound = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(bound[:2], family=family, backlog=_BACKLOG)
    if socket.has_dualstack_ipv6():
        # A kernel with IPv6 disabled still creates the socket, and refuses only to bind it.
        try:
            return socket.create_server(
                ("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
        except OSError as error:
            log.debug("ipv6_not_available", reason=str(error))
    return socket.create_server(("0.0.0.0", int(port)), backlog=_BACKLOG)  # noqa: S104 - the setting names no host


def _without_body_for_head(application: Application) -> Application:
    """Waitress sends the body that the application returns, whatever the method."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        response = application(environ, start_response)
        if environ["REQUEST_METHOD"] != "HEAD":
            return response
        # The response of Django has it; in general it is optional (PEP 3333).
        if hasattr(response, "close"):
            response.close()
        return []

    return wrapped


def _dispatcher(threads: int) -> ThreadedTaskDispatcher:
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(threads)
    return dispatcher


def _adjustments(connections: int) -> Adjustments:
    return Adjustments(
        ident="rtmanager",
        # The server closes excess connections itself; this limit only bounds a flood of complete requests.
        connection_limit=2 * connections,
        backlog=_BACKLOG,
        cleanup_interval=1,
        max_request_header_size=_MAX_HEADER_BYTES,
        max_request_body_size=_MAX_BODY_BYTES,
        inbuf_overflow=_MEMORY_BYTES_PER_BODY,
        outbuf_overflow=_MEMORY_BYTES_PER_BODY,
        outbuf_high_watermark=8 * _MEMORY_BYTES_PER_BODY,
        # Read on while a request runs, so that a log follower notices that its client has gone.
        channel_request_lookahead=1,
        log_socket_errors=False,
        # rtmanager.http.proxies decides which proxies are trusted.
        clear_untrusted_proxy_headers=False,
    )


def _allow_files(count: int) -> None:
    """Raise the soft limit of open files as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

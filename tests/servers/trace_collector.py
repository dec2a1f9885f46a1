"""A collector of traces: takes OTLP over HTTP, as protobuf, and keeps it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_PATH = "/v1/traces"


class Collector(ThreadingHTTPServer):
    """Takes what is posted to it on loopback, at a port of its own."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: list[ExportTraceServiceRequest] = []

    @property
    def url(self) -> str:
        """Where it takes traces."""
        return f"http://127.0.0.1:{self.server_address[1]}{_PATH}"

    @property
    def spans(self) -> list[Span]:
        """All spans so far."""
        resources = [resource for request in self.taken for resource in request.resource_spans]
        return [span for resource in resources for scope in resource.scope_spans for span in scope.spans]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        """Keep one batch."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_right = (self.path, self.headers["Content-Type"]) == (_PATH, "application/x-protobuf")
        if is_right:
            self.server.taken.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200 if is_right else 400)
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that runs inside the block."""
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

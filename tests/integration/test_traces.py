"""Traces as a collector gets them, over HTTP."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from operations import finishing, outbox
from operations.models import OutboxEvent
from operations.spans import trace_id_of
from tasks.traces import TraceTeller
from tests.integration.rigs import Rig
from tests.servers.databases import free_port

ROOT = Path(__file__).parents[2]


class Collector(ThreadingHTTPServer):
    """Takes what is posted to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: list[ExportTraceServiceRequest] = []

    @property
    def url(self) -> str:
        """Where it takes traces."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1/traces"

    @property
    def spans(self) -> list[Span]:
        """All spans so far."""
        return [
            span for one in self.taken for told in one.resource_spans for scope in told.scope_spans
            for span in scope.spans
        ]  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
        self.server.taken.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def teller(collector: Collector) -> Iterator[TraceTeller]:
    """Told by hand; it waits for ever for results that are not published."""
    teller = TraceTeller(collector.url, version="1.2.3", patience_seconds=3600)
    finishing.observers.append(teller.note)
    yield teller
    finishing.observers.remove(teller.note)


def publish_all() -> None:
    outbox.mark_published({one.pk: "1-0" for one in OutboxEvent.objects.all()})


def test_an_operation_is_told_when_its_result_is_on_the_stream(
    rig: Rig, teller: TraceTeller, collector: Collector
) -> None:
    operation = rig.start()
    before = teller.tell_due()
    publish_all()

    told = teller.tell_due()

    assert (before, told, teller.tell_due()) == (0, 1, 0)
    (request,) = collector.taken
    resource = {one.key: one.value.string_value for one in request.resource_spans[0].resource.attributes}
    assert (resource["service.name"], resource["service.version"]) == ("rtmanager", "1.2.3")
    names = [span.name for span in collector.spans]
    assert names[:3] == ["start", "accept", "wait"]
    assert names[-1] == "publish"
    assert [step["name"] for step in operation.steps] == names[4:-1]
    assert {int.from_bytes(span.trace_id, "big") for span in collector.spans} == {trace_id_of(operation.job_key)}
    root = collector.spans[0]
    assert root.parent_span_id == b""
    assert {span.parent_span_id for span in collector.spans[1:4]} == {root.span_id}


def test_a_failure_is_told_with_its_error(rig: Rig, teller: TraceTeller, collector: Collector) -> None:
    rig.start(image_ref="nobody/knows:1.0.0")
    publish_all()

    teller.tell_due()

    root = collector.spans[0]
    assert root.status.code == root.status.STATUS_CODE_ERROR
    assert root.status.message.startswith("image_pull_failed: ")


def test_what_has_no_result_on_a_stream_is_told_at_once(rig: Rig, teller: TraceTeller, collector: Collector) -> None:
    rig.start()
    rig.restart()

    told = teller.tell_due()

    assert told == 1
    assert collector.spans[0].name == "restart"


def test_what_waits_is_told_without_its_publication_when_the_worker_leaves(
    rig: Rig, teller: TraceTeller, collector: Collector
) -> None:
    rig.start()
    teller.start()

    teller.stop()

    assert [span.name for span in collector.spans][:2] == ["start", "accept"]
    assert "publish" not in {span.name for span in collector.spans}


def test_a_collector_that_is_away_touches_no_operation(rig: Rig) -> None:
    teller = TraceTeller(f"http://127.0.0.1:{free_port()}/v1/traces", version="1", patience_seconds=0)
    finishing.observers.append(teller.note)
    try:
        operation = rig.start()
    finally:
        finishing.observers.remove(teller.note)

    told = teller.tell_due()

    assert (told, operation.outcome) == (1, "success")


@pytest.mark.parametrize(("endpoint", "loaded"), [("", False), ("http://127.0.0.1:4318", True)])
def test_nothing_of_it_is_loaded_unless_it_is_asked_for(*, endpoint: str, loaded: bool) -> None:
    # The client of Redis looks at parts of OpenTelemetry by itself wherever they are installed; these are ours alone.
    ours = "('opentelemetry.exporter', 'opentelemetry.sdk.trace', 'tasks.traces')"
    program = (
        "import django, sys; django.setup()\n"
        "from rtmanager.celery import app; app.loader.import_default_modules()\n"
        f"print(any(name.startswith({ours}) for name in sys.modules))"
    )
    environment = {
        "PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "rtmanager.settings",
        "RTMANAGER_TRACES_ENDPOINT": endpoint,
    }  # fmt: skip

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == [str(loaded)]

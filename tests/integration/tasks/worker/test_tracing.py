"""Traces as a collector receives them, over HTTP."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from operations import outbox
from operations.execution import completion
from operations.models import OutboxEvent
from operations.monitoring.spans import trace_id_of
from tasks.worker.tracing import TraceExporter
from tests.integration.harness import Rig
from tests.paths import ROOT
from tests.servers.databases import free_port
from tests.servers.trace_collector import Collector, collecting


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as server:
        yield server


@pytest.fixture
def exporter(collector: Collector) -> Iterator[TraceExporter]:
    """The tests call export_ready; it waits an hour for results that are not published."""
    exporter = TraceExporter(collector.url, version="1.2.3", grace_seconds=3600)
    completion.on_completed.append(exporter.enqueue)
    yield exporter
    completion.on_completed.remove(exporter.enqueue)


def publish_all() -> None:
    outbox.mark_published({event.pk: "1-0" for event in OutboxEvent.objects.all()})


def test_an_operation_is_exported_when_its_result_is_on_the_stream(
    rig: Rig, exporter: TraceExporter, collector: Collector
) -> None:
    operation = rig.start()
    before = exporter.export_ready()
    publish_all()

    exported = exporter.export_ready()

    assert (before, exported, exporter.export_ready()) == (0, 1, 0)
    (request,) = collector.taken
    resource = {
        attribute.key: attribute.value.string_value for attribute in request.resource_spans[0].resource.attributes
    }
    assert (resource["service.name"], resource["service.version"]) == ("rtmanager", "1.2.3")
    names = [span.name for span in collector.spans]
    assert names[:3] == ["operation start", "accept", "wait"]
    assert names[-1] == "publish"
    assert [step["name"] for step in operation.steps] == names[4:-1]
    assert {int.from_bytes(span.trace_id, "big") for span in collector.spans} == {trace_id_of(operation.job_key)}
    root = collector.spans[0]
    assert root.parent_span_id == b""
    assert {span.parent_span_id for span in collector.spans[1:4]} == {root.span_id}


def test_a_failure_is_exported_with_its_error(rig: Rig, exporter: TraceExporter, collector: Collector) -> None:
    rig.start(image_ref="missing/image:1.0.0")
    publish_all()

    exporter.export_ready()

    root = collector.spans[0]
    assert root.status.code == root.status.STATUS_CODE_ERROR
    assert root.status.message.startswith("image_pull_failed: ")


def test_an_operation_without_stream_result_is_exported_at_once(
    rig: Rig, exporter: TraceExporter, collector: Collector
) -> None:
    rig.start()
    rig.restart()

    exported = exporter.export_ready()

    assert exported == 1
    assert collector.spans[0].name == "operation restart"


def test_a_worker_that_shuts_down_exports_operations_without_their_publication(
    rig: Rig, exporter: TraceExporter, collector: Collector
) -> None:
    rig.start()
    exporter.start()

    exporter.stop()

    assert [span.name for span in collector.spans][:2] == ["operation start", "accept"]
    assert "publish" not in {span.name for span in collector.spans}


def test_an_unreachable_collector_does_not_affect_operations(rig: Rig) -> None:
    exporter = TraceExporter(f"http://127.0.0.1:{free_port()}/v1/traces", version="1", grace_seconds=0)
    completion.on_completed.append(exporter.enqueue)
    try:
        operation = rig.start()
    finally:
        completion.on_completed.remove(exporter.enqueue)

    exported = exporter.export_ready()

    assert (exported, operation.outcome) == (1, "success")


@pytest.mark.parametrize(("endpoint", "loaded"), [("", False), ("http://127.0.0.1:4318", True)])
def test_tracing_is_loaded_only_with_its_setting(*, endpoint: str, loaded: bool) -> None:
    # redis-py imports parts of OpenTelemetry if they are installed. Only RTM imports these.
    ours = "('opentelemetry.exporter', 'opentelemetry.sdk.trace', 'tasks.worker.tracing')"
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

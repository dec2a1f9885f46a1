"""Traces as a collector gets them, over HTTP."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations import finishing, outbox
from operations.models import OutboxEvent
from operations.spans import trace_id_of
from tasks.traces import TraceTeller
from tests.integration.rigs import Rig
from tests.servers.databases import free_port
from tests.servers.trace_collector import Collector, collecting

ROOT = Path(__file__).parents[2]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as server:
        yield server


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
    assert names[:3] == ["operation start", "accept", "wait"]
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
    assert collector.spans[0].name == "operation restart"


def test_what_waits_is_told_without_its_publication_when_the_worker_leaves(
    rig: Rig, teller: TraceTeller, collector: Collector
) -> None:
    rig.start()
    teller.start()

    teller.stop()

    assert [span.name for span in collector.spans][:2] == ["operation start", "accept"]
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

"""Traces for those who collect them: each operation this worker has ended is told to a collector, afterwards.

Loaded only where ``RTMANAGER_TRACES_ENDPOINT`` is set. An operation knows nothing of it: its id is noted after the
commit of its end, and a thread of its own reads the row and tells its story. A collector that is away costs traces.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from celery.signals import worker_ready, worker_shutdown
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from operations import finishing, outbox
from operations.models import Operation
from operations.runner import worker_name
from operations.spans import Span, is_wanted, spans_of
from operations.states import OpSource

log = structlog.get_logger(__name__)

_LOOK_EVERY_SECONDS = 0.5
# A result is on its stream within a second, or much later: then the trace is told without its publication.
_PATIENCE_SECONDS = 5.0
_TIMEOUT_SECONDS = 5.0
_TOLD_AT_ONCE = 100
_LONGEST_QUEUE = 5000


class TraceTeller:
    """Tells finished operations to one collector (OTLP over HTTP), in the background."""

    def __init__(self, endpoint: str, *, version: str, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_TIMEOUT_SECONDS)
        self._resource = Resource.create(
            {"service.name": "rtmanager", "service.version": version, "service.namespace": settings.RTMANAGER.stack,
             "service.instance.id": worker_name()}
        )  # fmt: skip
        self._scope = InstrumentationScope("rtmanager", version)
        self._patience = patience_seconds
        # When it is full the oldest are forgotten: memory is worth more than a trace.
        self._waiting: deque[tuple[int, float]] = deque(maxlen=_LONGEST_QUEUE)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._failing = False

    def note(self, operation_id: int) -> None:
        """Remember that this operation has ended. Never waits, never raises."""
        self._waiting.append((operation_id, time.monotonic() + self._patience))

    def start(self) -> None:
        """Tell from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Tell what there is and end, within a moment."""
        self._stopping.set()
        self._thread.join(_TIMEOUT_SECONDS)

    def tell_due(self, *, at_once: bool = False) -> int:
        """Tell those whose result is published, that have none, or that have waited long enough; returns how many."""
        batch = [self._waiting.popleft() for _one in range(min(len(self._waiting), _TOLD_AT_ONCE))]
        if not batch:
            return 0
        ended = Operation.objects.in_bulk([operation_id for operation_id, _until in batch])
        published = outbox.published_at([_result_key(one) for one in ended.values()])
        due, later = _sort(batch, ended=ended, published=published, at_once=at_once)
        self._waiting.extend(later)
        stories = [spans_of(one, published_at=published.get(_result_key(one))) for one in due if is_wanted(one.job_key)]
        self._export([span for story in stories for span in story])
        return len(due)

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_EVERY_SECONDS):
            self._guarded(at_once=False)
        self._guarded(at_once=True)
        connection.close()

    def _guarded(self, *, at_once: bool) -> None:
        try:
            self.tell_due(at_once=at_once)
        except (DatabaseError, InterfaceError):
            # Those of this batch are lost; what else wants the database says why it is away.
            connection.close()
        except Exception:  # a trace is never worth a worker
            log.exception("traces_not_told")

    def _export(self, spans: Sequence[Span]) -> None:
        if not spans:
            return
        result = self._exporter.export([self._readable(span) for span in spans])
        if result == SpanExportResult.SUCCESS and self._failing:
            log.info("traces_told_again")
        if result != SpanExportResult.SUCCESS and not self._failing:
            log.warning("traces_not_taken", endpoint=settings.RTMANAGER.traces_endpoint, spans=len(spans))
        self._failing = result != SpanExportResult.SUCCESS

    def _readable(self, span: Span) -> ReadableSpan:
        return ReadableSpan(
            name=span.name,
            context=_context(span.trace_id, span.span_id),
            parent=_context(span.trace_id, span.parent_id, is_remote=span.has_remote_parent)
            if span.parent_id
            else None,
            resource=self._resource,
            attributes=span.attributes,
            kind=SpanKind.INTERNAL,
            instrumentation_scope=self._scope,
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.OK),
            start_time=span.start_ns,
            end_time=span.end_ns,
        )


def _sort(
    batch: Iterable[tuple[int, float]],
    *,
    ended: Mapping[int, Operation],
    published: Mapping[str, datetime],
    at_once: bool,
) -> tuple[list[Operation], list[tuple[int, float]]]:
    """Those to be told now, and those that still wait for their publication."""
    due: list[Operation] = []
    later: list[tuple[int, float]] = []
    for operation_id, until in batch:
        operation = ended.get(operation_id)
        if operation is None:
            continue
        is_told = operation.op_source != OpSource.LOBBY_STREAM or _result_key(operation) in published
        if is_told or at_once or time.monotonic() >= until:
            due.append(operation)
        else:
            later.append((operation_id, until))
    return due, later


def _result_key(operation: Operation) -> str:
    return finishing.result_key(operation.job_key)


def _context(trace_id: int, span_id: int, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=is_remote, trace_flags=TraceFlags(TraceFlags.SAMPLED))


@worker_ready.connect
def begin(**_details: Any) -> None:
    """Tell what this worker ends, until it leaves."""
    # It says the same again for each batch while a collector is away.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    teller = TraceTeller(settings.RTMANAGER.traces_url, version=settings.RTM_VERSION)
    finishing.observers.append(teller.note)
    teller.start()
    worker_shutdown.connect(lambda **_more: teller.stop(), weak=False)

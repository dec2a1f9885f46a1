"""Exports a trace of each operation that this worker completed, to an OpenTelemetry collector.

Loaded only if ``RTMANAGER_TRACES_ENDPOINT`` is set. Operations do not wait for it: the exporter takes the id after the
commit of the completion, and its own thread reads the row. If the collector is away, its traces are lost.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
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

from operations import outbox
from operations.execution.completion import on_completed, result_key
from operations.models import Operation
from operations.monitoring.spans import Span, is_sampled, spans_of
from operations.queue.claims import worker_name
from operations.states import OperationSource

log = structlog.get_logger(__name__)

_INTERVAL_SECONDS = 0.5
# The relay publishes a result within a second, or much later. After this time the trace goes out without publication.
_GRACE_SECONDS = 5.0
_TIMEOUT_SECONDS = 5.0
_BATCH = 100
_MAX_QUEUED = 5000


class TraceExporter(threading.Thread):
    """Exports completed operations to one collector (OTLP over HTTP), in a background thread."""

    def __init__(self, endpoint: str, *, version: str, grace_seconds: float = _GRACE_SECONDS) -> None:
        super().__init__(name="traces", daemon=True)
        self._exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_TIMEOUT_SECONDS)
        self._resource = Resource.create(
            {"service.name": "rtmanager", "service.version": version, "service.namespace": settings.RTMANAGER.stack,
             "service.instance.id": worker_name()}
        )  # fmt: skip
        self._scope = InstrumentationScope("rtmanager", version)
        self._grace_seconds = grace_seconds
        # A full queue drops its oldest entries, which bounds memory.
        self._queue: deque[tuple[int, float]] = deque(maxlen=_MAX_QUEUED)
        self._stopping = threading.Event()
        self._is_failing = False

    def enqueue(self, operation_id: int) -> None:
        """Queue a completed operation. Never waits, never raises."""
        self._queue.append((operation_id, time.monotonic() + self._grace_seconds))

    def stop(self) -> None:
        """Export what is queued and end the thread. Waits for at most 5 s."""
        self._stopping.set()
        self.join(_TIMEOUT_SECONDS)

    def run(self) -> None:
        """Export until stopped, and then what is left."""
        is_last = False
        while not is_last:
            is_last = self._stopping.wait(_INTERVAL_SECONDS)
            try:
                self.export_ready(at_once=is_last)
            except (DatabaseError, InterfaceError):
                # This batch is lost. Other users of the database log the reason.
                connection.close()
        connection.close()

    def export_ready(self, *, at_once: bool = False) -> int:
        """Export operations whose result is published, that have none, or whose grace time is over; return how many.

        With ``at_once``, export all.
        """
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))]
        if not batch:
            return 0
        completed = Operation.objects.in_bulk([operation_id for operation_id, _deadline in batch])
        published = outbox.published_at([result_key(operation.job_key) for operation in completed.values()])
        exported, spans = 0, list[Span]()
        for operation_id, deadline in batch:
            operation = completed.get(operation_id)
            if operation is None:
                continue
            published_at = published.get(result_key(operation.job_key))
            is_final = published_at is not None or operation.op_source != OperationSource.LOBBY_STREAM
            if not (is_final or at_once or time.monotonic() >= deadline):
                self._queue.append((operation_id, deadline))
                continue
            exported += 1
            if is_sampled(operation.job_key):
                spans += spans_of(operation, published_at=published_at)
        if spans:
            self._export(spans)
        return exported

    def _export(self, spans: Sequence[Span]) -> None:
        # The library handles its own errors and those of the collector.
        is_failing = self._exporter.export([self._readable(span) for span in spans]) != SpanExportResult.SUCCESS
        if self._is_failing and not is_failing:
            log.info("trace_export_recovered")
        if is_failing and not self._is_failing:
            log.warning("trace_export_failed", endpoint=settings.RTMANAGER.traces_endpoint, spans=len(spans))
        self._is_failing = is_failing

    def _readable(self, span: Span) -> ReadableSpan:
        parent = _context(span.trace_id, span.parent_id, is_remote=span.has_remote_parent) if span.parent_id else None
        return ReadableSpan(
            name=span.name,
            context=_context(span.trace_id, span.span_id),
            parent=parent,
            resource=self._resource,
            attributes=span.attributes,
            kind=SpanKind.INTERNAL,
            instrumentation_scope=self._scope,
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.OK),
            start_time=span.start_ns,
            end_time=span.end_ns,
        )


def _context(trace_id: int, span_id: int, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=is_remote, trace_flags=TraceFlags(TraceFlags.SAMPLED))


@worker_ready.connect
def start_exporter(**_details: Any) -> None:
    """Export what this worker completes, until it shuts down."""
    # The library repeats its error for each batch while a collector is away.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    exporter = TraceExporter(settings.RTMANAGER.traces_url, version=settings.RTM_VERSION)
    on_completed.append(exporter.enqueue)
    exporter.start()
    worker_shutdown.connect(lambda **_more: exporter.stop(), weak=False)

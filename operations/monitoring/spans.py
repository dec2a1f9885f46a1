"""The spans of an operation, built from its row after it has finished. Nothing else is stored. Pure.

The ids derive from the job key. So every process computes the same ids, and exporting a trace twice gives one trace.
If a caller of the API sends a ``traceparent``, the operation joins that trace: the key of a REST job contains it.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from operations.models import Operation
from operations.states import OperationSource, Outcome
from runtimes.formatting import from_unix_ms, to_unix

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_ATTRIBUTES = {
    "operation_id": "pk", "game_id": "game_id", "op_kind": "op_kind", "op_source": "op_source",
    "source_ref": "source_ref", "outcome": "outcome", "error_code": "error_code", "image_ref": "image_ref",
    "container_id": "container_id", "attempts": "attempt", "retries": "retries", "worker": "claimed_by",
}  # fmt: skip
_NS = 1000
_SAMPLED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span as OpenTelemetry defines it.

    ``parent_id`` is 0 at the root; ``error`` is empty on success. Times are in nanoseconds since 1970.
    """

    name: str
    trace_id: int
    span_id: int
    parent_id: int = 0
    has_remote_parent: bool = False
    start_ns: int
    end_ns: int
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    error: str = ""


def rest_job_key(unique: str, *, traceparent: str) -> str:
    """The key of a REST job. Contains the trace of the caller if it sent a valid W3C ``traceparent``."""
    return f"rest:{unique}:{traceparent}" if _TRACEPARENT.fullmatch(traceparent) else f"rest:{unique}"


def trace_id_of(job_key: str) -> int:
    """The trace of a job: that of the caller, else the first 16 bytes of the SHA-256 of its key."""
    given = _traceparent(job_key)
    return int(given[1], 16) if given else int.from_bytes(_digest(job_key)[:16], "big")


def is_sampled(job_key: str) -> bool:
    """Whether to export the trace: always, unless the caller does not sample its own."""
    given = _traceparent(job_key)
    return given is None or bool(int(given[3], 16) & _SAMPLED)


def spans_of(operation: Operation, *, published_at: datetime | None) -> list[Span]:
    """The spans of a finished operation, the root first. ``published_at``: when its result reached the stream, if so.

    Times come from PostgreSQL, those of steps from the worker, and that of the stream entry from Redis.
    """
    caller = _traceparent(operation.job_key)
    finished = operation.finished_at or operation.accepted_at
    started = operation.started_at or finished
    written = _written_at(operation)
    error = f"{operation.error_code}: {operation.error_message}" if operation.outcome == Outcome.FAILURE else ""
    root = replace(
        _span(operation, "", min(written, operation.accepted_at), max(finished, published_at or finished)),
        name=f"operation {operation.op_kind}",
        parent_id=int(caller[2], 16) if caller else 0,
        has_remote_parent=caller is not None,
        attributes=_attributes(operation),
        error=error,
    )
    wait = _span(operation, "wait", operation.accepted_at, started, parent=root)
    work = replace(_span(operation, "work", started, finished, parent=root), error=error)
    spans = [root, wait, work, *_steps(operation, parent=work)]
    if operation.op_source == OperationSource.LOBBY_STREAM:
        spans.insert(1, _span(operation, "accept", written, operation.accepted_at, parent=root))
    if published_at is not None:
        spans.append(_span(operation, "publish", finished, published_at, parent=root))
    return spans


def _steps(operation: Operation, *, parent: Span) -> Iterator[Span]:
    for number, step in enumerate(operation.steps):
        start = datetime.fromisoformat(step["started_at"])
        span = _span(
            operation, f"step:{number}", start, start + timedelta(milliseconds=step["duration_ms"] or 0), parent=parent
        )
        error = step["error"] or ("" if step["duration_ms"] is not None else "the worker did not finish it")
        yield replace(span, name=step["name"], error=error)


def _span(operation: Operation, part: str, start: datetime, end: datetime, *, parent: Span | None = None) -> Span:
    return Span(
        name=part,
        trace_id=trace_id_of(operation.job_key),
        span_id=int.from_bytes(_digest(f"{operation.job_key}/{part}")[:8], "big"),
        parent_id=parent.span_id if parent else 0,
        start_ns=_ns(start),
        # Two clocks may disagree: a span does not end before it starts.
        end_ns=_ns(max(start, end)),
    )


def _attributes(operation: Operation) -> dict[str, str | int]:
    values = {name: getattr(operation, column) for name, column in _ATTRIBUTES.items()}
    return {f"rtmanager.{name}": value for name, value in values.items() if value not in {"", None}}


def _written_at(operation: Operation) -> datetime:
    """When the job was written to its stream: an entry id starts with this time."""
    milliseconds = operation.source_ref.partition("-")[0]
    if operation.op_source != OperationSource.LOBBY_STREAM or not (milliseconds.isascii() and milliseconds.isdecimal()):
        return operation.accepted_at
    written_ns = int(milliseconds) * 1_000_000
    # An id may be written by hand. Ignore one with an impossible time.
    is_plausible = 0 <= _ns(operation.accepted_at) - written_ns < timedelta(days=7) / timedelta(microseconds=1) * _NS
    return from_unix_ms(int(milliseconds)) if is_plausible else operation.accepted_at


def _traceparent(job_key: str) -> re.Match[str] | None:
    return _TRACEPARENT.fullmatch(job_key.rpartition(":")[2]) if job_key.startswith("rest:") else None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _ns(at: datetime) -> int:
    return to_unix(at, timedelta(microseconds=1)) * _NS

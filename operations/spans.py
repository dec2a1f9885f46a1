"""The story of an operation as spans of a trace, told afterwards from its row: nothing is stored for it. Pure.

Every process makes the same ids from the job key, so whoever has seen a job can find its trace, and telling it twice
tells one trace. A caller of the API that sends a ``traceparent`` gets the operation into its own trace: the key of a
REST job carries it.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from operations.models import Operation
from operations.states import OpSource, Outcome

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NS = 1000
_SAMPLED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One stretch of time with a name, ids as OpenTelemetry has them, and what is known of it.

    ``parent_id`` is 0 at the root; ``error`` is empty unless it went wrong. Times are in nanoseconds since 1970.
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
    """The name of a job that came by REST, with the caller's trace if it named one in the form of the W3C."""
    return f"rest:{unique}:{traceparent}" if _TRACEPARENT.fullmatch(traceparent) else f"rest:{unique}"


def trace_id_of(job_key: str) -> int:
    """The trace of a job: the caller's, else the first 16 bytes of the SHA-256 of its key."""
    given = _given(job_key)
    return int(given[1], 16) if given else int.from_bytes(_digest(job_key)[:16], "big")


def is_wanted(job_key: str) -> bool:
    """Whether the trace is to be told: unless a caller has said that it does not keep its own."""
    given = _given(job_key)
    return given is None or bool(int(given[3], 16) & _SAMPLED)


def spans_of(operation: Operation, *, published_at: datetime | None) -> list[Span]:
    """The spans of a finished operation, the root first. ``published_at``: when its result reached the stream, if it
    did. Times are PostgreSQL's; those of steps the worker's, and of the job's writing Redis's.
    """
    return list(_Story(operation).spans(published_at))


class _Story:
    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._trace_id = trace_id_of(operation.job_key)
        self._root_id = self._id("")

    def spans(self, published_at: datetime | None) -> Iterator[Span]:
        operation = self._operation
        finished = operation.finished_at or operation.accepted_at
        started = operation.started_at or finished
        written = _written_at(operation)
        yield self._root(min(written, operation.accepted_at), max(finished, published_at or finished))
        if operation.op_source == OpSource.LOBBY_STREAM:
            yield self._part("accept", written, operation.accepted_at)
        yield self._part("wait", operation.accepted_at, started)
        yield self._part("work", started, finished, error=_error(operation))
        yield from self._steps(parent_id=self._id("work"))
        if published_at is not None:
            yield self._part("publish", finished, published_at)

    def _root(self, start: datetime, end: datetime) -> Span:
        operation, given = self._operation, _given(self._operation.job_key)
        return Span(
            name=f"operation {operation.op_kind}",
            trace_id=self._trace_id,
            span_id=self._root_id,
            parent_id=int(given[2], 16) if given else 0,
            has_remote_parent=given is not None,
            start_ns=_ns(start),
            end_ns=_ns(end),
            attributes=_attributes(operation),
            error=_error(operation),
        )

    def _part(self, name: str, start: datetime, end: datetime, *, error: str = "") -> Span:
        return Span(
            name=name,
            trace_id=self._trace_id,
            span_id=self._id(name),
            parent_id=self._root_id,
            start_ns=_ns(start),
            # Two clocks may disagree: nothing ends before it begins.
            end_ns=_ns(max(start, end)),
            error=error,
        )

    def _steps(self, *, parent_id: int) -> Iterator[Span]:
        for number, step in enumerate(self._operation.steps):
            start = datetime.fromisoformat(step["started_at"])
            yield Span(
                name=step["name"],
                trace_id=self._trace_id,
                span_id=self._id(f"step:{number}"),
                parent_id=parent_id,
                start_ns=_ns(start),
                end_ns=_ns(start + timedelta(milliseconds=step["duration_ms"] or 0)),
                error=step["error"] or ("" if step["duration_ms"] is not None else "its worker did not end it"),
            )

    def _id(self, part: str) -> int:
        return int.from_bytes(_digest(f"{self._operation.job_key}/{part}")[:8], "big")


def _attributes(operation: Operation) -> dict[str, str | int]:
    return {
        f"rtmanager.{name}": value
        for name, value in (
            ("operation_id", operation.pk),
            ("game_id", operation.game_id),
            ("op_kind", operation.op_kind),
            ("op_source", operation.op_source),
            ("source_ref", operation.source_ref),
            ("outcome", operation.outcome or ""),
            ("error_code", operation.error_code),
            ("image_ref", operation.image_ref),
            ("container_id", operation.container_id),
            ("attempts", operation.attempt),
            ("deferrals", operation.deferrals),
            ("worker", operation.claimed_by),
        )
        if value not in {"", None}
    }


def _error(operation: Operation) -> str:
    return f"{operation.error_code}: {operation.error_message}" if operation.outcome == Outcome.FAILURE else ""


def _written_at(operation: Operation) -> datetime:
    """When a job was put on its stream: the ids of entries begin with it."""
    milliseconds = operation.source_ref.partition("-")[0]
    if operation.op_source != OpSource.LOBBY_STREAM or not (milliseconds.isascii() and milliseconds.isdecimal()):
        return operation.accepted_at
    written_ns = int(milliseconds) * 1_000_000
    # An id can be made up by hand; one that tells of another time is no measure.
    is_sane = 0 <= _ns(operation.accepted_at) - written_ns < timedelta(days=7) / timedelta(microseconds=1) * _NS
    return _EPOCH + timedelta(milliseconds=int(milliseconds)) if is_sane else operation.accepted_at


def _given(job_key: str) -> re.Match[str] | None:
    return _TRACEPARENT.fullmatch(job_key.rpartition(":")[2]) if job_key.startswith("rest:") else None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _ns(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * _NS

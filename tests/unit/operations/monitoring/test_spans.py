"""An operation as the spans of a trace."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from operations.models import Operation
from operations.monitoring.spans import Span, is_sampled, rest_job_key, spans_of, trace_id_of

T0 = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def ended(**changes: Any) -> Operation:
    written_ms = int(at(-1).timestamp() * 1000)
    known: dict[str, Any] = {
        "pk": 7, "game_id": "g1", "op_kind": "start", "op_source": "lobby_stream", "source_ref": f"{written_ms}-0",
        "job_key": f"runtime:start_jobs:{written_ms}-0", "state": "finished", "outcome": "success", "attempt": 1,
        "accepted_at": at(0), "started_at": at(2), "finished_at": at(5),
        "steps": [
            {"name": "pull", "started_at": "2026-11-21T12:00:02.500Z", "duration_ms": 1500, "error": ""},
            {"name": "create", "started_at": "2026-11-21T12:00:04.000Z", "duration_ms": None, "error": ""},
        ],
    }  # fmt: skip
    return Operation(**{**known, **changes})


def times(spans: list[Span]) -> dict[str, tuple[float, float]]:
    zero = int(T0.timestamp()) * 10**9
    return {one.name: ((one.start_ns - zero) / 1e9, (one.end_ns - zero) / 1e9) for one in spans}


def test_the_spans_go_from_the_stream_entry_to_the_published_result() -> None:
    spans = spans_of(ended(), published_at=at(5.25))

    assert times(spans) == {
        "operation start": (-1, 5.25), "accept": (-1, 0), "wait": (0, 2), "work": (2, 5),
        "pull": (2.5, 4), "create": (4, 4), "publish": (5, 5.25),
    }  # fmt: skip


def test_steps_are_below_the_work_and_everything_else_below_the_root() -> None:
    spans = {one.name: one for one in spans_of(ended(), published_at=at(6))}

    root, work = spans["operation start"], spans["work"]
    assert (root.parent_id, root.has_remote_parent) == (0, False)
    assert {spans[name].parent_id for name in ("accept", "wait", "work", "publish")} == {root.span_id}
    assert {spans[name].parent_id for name in ("pull", "create")} == {work.span_id}
    assert len({one.span_id for one in spans.values()}) == len(spans)
    assert root.attributes["rtmanager.game_id"] == "g1"
    assert root.attributes["rtmanager.operation_id"] == 7


def test_the_trace_id_derives_from_the_job_key() -> None:
    operation = ended()

    first, second = (spans_of(operation, published_at=None) for _time in range(2))

    assert first == second
    digest = hashlib.sha256(operation.job_key.encode()).hexdigest()
    assert {one.trace_id for one in first} == {int(digest[:32], 16)}


def test_a_failure_is_the_error_of_the_root_and_of_the_work() -> None:
    failed = ended(outcome="failure", error_code="image_pull_failed", error_message="no such image")

    errors = {one.name: one.error for one in spans_of(failed, published_at=None) if one.error}

    assert errors["operation start"] == errors["work"] == "image_pull_failed: no such image"
    assert errors["create"] == "the worker did not finish it"


def test_a_caller_finds_the_operation_in_its_own_trace() -> None:
    by_rest = ended(op_source="gm_rest", source_ref="r1", job_key=rest_job_key("u1", traceparent=TRACEPARENT))

    root, *others = spans_of(by_rest, published_at=None)

    assert f"{root.trace_id:032x}" == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (f"{root.parent_id:016x}", root.has_remote_parent) == ("00f067aa0ba902b7", True)
    assert [one.name for one in others] == ["wait", "work", "pull", "create"]


@pytest.mark.parametrize("header", ["", "01-aa", TRACEPARENT.upper(), f"00-{'0' * 32}-00f067aa0ba902b7-01", "x" * 300])
def test_an_invalid_traceparent_is_ignored(header: str) -> None:
    assert rest_job_key("u1", traceparent=header) == "rest:u1"


def test_a_trace_that_the_caller_does_not_sample_is_not_exported() -> None:
    dropped = rest_job_key("u1", traceparent=f"{TRACEPARENT[:-2]}00")

    assert [is_sampled(key) for key in (dropped, rest_job_key("u1", traceparent=TRACEPARENT), "a:1-0")] == [
        False, True, True,
    ]  # fmt: skip


def test_the_key_of_a_stream_job_never_names_a_trace_of_a_caller() -> None:
    assert trace_id_of(f"stream:{TRACEPARENT}") != trace_id_of(f"rest:u:{TRACEPARENT}")


def test_no_span_ends_before_it_starts_if_clocks_disagree() -> None:
    odd = ended(source_ref="99999999999999-0", started_at=at(-3))

    assert [one for one in spans_of(odd, published_at=at(-9)) if one.end_ns < one.start_ns] == []

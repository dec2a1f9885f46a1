"""Generated facts, including impossible ones: there is one cause, a next step, and no wrong proposal."""

import json
import re
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from operations.explain.diagnosis import Cause
from operations.explain.explanation import explain
from operations.explain.facts import DockerState, Facts, RootState, StateDirectory, failed_step
from operations.explain.rules.order import diagnose
from operations.explain.text import render
from operations.models import Operation
from operations.states import OperationKind, OperationSource, OperationState, Outcome
from runtimes.containers.base import Container, ContainerState
from runtimes.containers.exit_causes import DockerStart
from runtimes.exceptions import ErrorCode
from runtimes.models import HealthSnapshot, Runtime
from runtimes.states import EndedBy, RuntimeStatus
from tests.unit.operations.explain.game_facts import (
    ALWAYS_RESTARTED,
    CONFIG,
    CONTAINER_ID,
    DEAD_LETTER,
    EXIT_REPORT,
    FOREIGN_CONTAINER,
    GAME,
    IMAGE,
    IN_FORCE,
    LESS_MEMORY,
    NETWORK,
    NO_PERMISSION,
    NOW,
    OF_ROOT,
    OTHER_ID,
    OTHER_IMAGE,
    SECOND_NETWORK,
    container,
    exit_report_with,
    operation,
    record,
    snapshot,
)

_IDS = st.sampled_from([CONTAINER_ID, OTHER_ID])
_IMAGES = st.sampled_from([IMAGE, OTHER_IMAGE])
_TIMES = st.integers(-7200, 100_000).map(lambda seconds: NOW - timedelta(seconds=seconds))
_STEPS = ("observe", "validate", "prepare_state", "inspect_image", "pull", "create", "start", "settle", "revert")
_OUTSIDE_OF_THE_GAME = {
    Cause.DOCKER_UNREACHABLE,
    Cause.DOCKER_REFUSES,
    Cause.DOCKER_NOT_OBSERVED,
    Cause.REDIS_DOWN,
    Cause.WORKER_DOWN,
    Cause.NEVER_STARTED,
}
# What an open operation does is known without Docker.
_OF_OPEN_OPERATIONS = {
    Cause.WORKERS_BUSY,
    Cause.RECOVERING,
    Cause.BACKING_OFF,
    Cause.PULLING,
    Cause.QUEUED_BEHIND,
    Cause.STARTING,
    Cause.STOPPING,
    Cause.REMOVING,
    Cause.REPAIRING,
}
_CLAIMS_ABSENCE = re.compile(r"\b(gone|disappeared|no container|is down|removed outside)\b")


@st.composite
def containers(draw: st.DrawFn) -> Container:
    return container(
        draw(st.sampled_from(ContainerState)),
        id=draw(_IDS),
        name=draw(st.sampled_from([f"galaxy-game-{GAME}", "keep"])),
        exit_code=draw(st.sampled_from([0, 1, 137, 143])),
        oom_killed=draw(st.booleans()),
        health=draw(st.sampled_from(["", "starting", "healthy", "unhealthy"])),
        started_at=draw(st.none() | _TIMES),
        finished_at=draw(st.none() | _TIMES),
        addresses=draw(st.sampled_from([{}, {NETWORK: "172.20.0.5"}, {"bridge": "172.17.0.2"}])),
    )


@st.composite
def docker_states(draw: st.DrawFn) -> DockerState:
    if draw(st.integers(0, 4)) == 0:
        return DockerState(
            is_known=False, reason="no answer within 2 s", is_refused=draw(st.booleans()), is_asked=draw(st.booleans())
        )
    return DockerState(
        is_known=True,
        own=draw(st.none() | containers()),
        foreign=draw(st.none() | st.just(FOREIGN_CONTAINER)),
        network_exists=draw(st.booleans()),
        has_image=draw(st.none() | st.booleans()),
        has_recorded_image=draw(st.none() | st.booleans()),
        configuration=draw(st.sampled_from([(), (ALWAYS_RESTARTED,), (LESS_MEMORY, SECOND_NETWORK)])),
        limits=draw(st.sampled_from([{}, IN_FORCE])),
        last_lines=draw(st.sampled_from([(), ("turn 1", NO_PERMISSION), ("mkdir /x: read-only file system",)])),
    )


@st.composite
def records(draw: st.DrawFn) -> Runtime:
    status = draw(st.sampled_from(RuntimeStatus))
    optional = {"started_at": draw(st.none() | _TIMES), "stopped_at": draw(st.none() | _TIMES)}
    is_stopped = status == RuntimeStatus.STOPPED
    ended_by = draw(st.sampled_from(["", *EndedBy.values])) if is_stopped else ""
    return record(status.value, current_image_ref=draw(st.none() | _IMAGES), ended_by=ended_by, **optional)


def _step(name: str, *, ended: bool, error: str) -> dict[str, Any]:
    began = {"name": name, "started_at": "2026-11-21T03:00:00Z"}
    return {**began, "duration_ms": 5 if ended else None, "error": error}


_STEP_LISTS = st.lists(
    st.builds(_step, st.sampled_from(_STEPS), ended=st.booleans(), error=st.sampled_from(["", "why"])), max_size=3
)


@st.composite
def operations(draw: st.DrawFn, *, state: OperationState) -> Operation:
    is_ended = state == OperationState.FINISHED
    outcome = draw(st.sampled_from(Outcome)) if is_ended else None
    is_failure = outcome == Outcome.FAILURE
    return operation(
        draw(st.sampled_from(OperationKind)).value,
        draw(st.integers(1, 20)),
        op_source=draw(st.sampled_from(OperationSource)).value,
        state=state.value,
        outcome=outcome.value if outcome else None,
        error_code=draw(st.sampled_from(ErrorCode)).value if is_failure else "",
        error_message=draw(st.sampled_from(["", "because", "the old image could not be put back either"])),
        image_ref=draw(st.just("") | _IMAGES),
        arguments=draw(st.sampled_from([{}, {"no_start": True}, {"restored_at": NOW.isoformat()}])),
        steps=draw(_STEP_LISTS),
        attempt=draw(st.integers(0, 5)),
        retries=draw(st.integers(0, 5)),
        waiting_for_image=draw(st.sampled_from(["", OTHER_IMAGE])) if state == OperationState.ACCEPTED else "",
        not_before=draw(st.none() | _TIMES) if state == OperationState.ACCEPTED else None,
        lease_until=draw(_TIMES) if state == OperationState.RUNNING else None,
        accepted_at=draw(_TIMES),
        started_at=draw(_TIMES) if state != OperationState.ACCEPTED else None,
        finished_at=draw(_TIMES) if is_ended else None,
    )


_DIRECTORIES = st.builds(
    StateDirectory,
    is_known=st.booleans(),
    is_read_only=st.booleans(),
    free_bytes=st.sampled_from([0, 10**9]),
    root=st.sampled_from(RootState),
) | st.sampled_from([OF_ROOT, StateDirectory(is_missing=True, root=RootState.RECORDED)])
_ENDED = operations(state=OperationState.FINISHED)
_OPEN = operations(state=OperationState.ACCEPTED) | operations(state=OperationState.RUNNING)
_HEALTH_EVENTS = ["container_started", "container_exited", "container_oom", "container_disappeared", "probe_failed"]


@st.composite
def snapshots(draw: st.DrawFn) -> HealthSnapshot:
    return snapshot(
        draw(st.sampled_from(_HEALTH_EVENTS)), container_id=draw(_IDS), probe_failures=draw(st.sampled_from([0, 3]))
    )


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    reason = draw(st.sampled_from(["", "", "", "", "no answer within 2 s"]))
    waiting = draw(st.lists(_OPEN, max_size=2)) if draw(st.booleans()) else []
    ended = draw(st.lists(_ENDED, max_size=3))
    return Facts(
        game_id=GAME,
        config=CONFIG,
        docker_state=draw(docker_states()),
        state_directory=draw(_DIRECTORIES),
        redis_reason=reason,
        record=draw(st.none() | records()),
        namesake=draw(st.sampled_from(["", GAME.upper()])),
        snapshot=draw(st.none() | snapshots()),
        open_operations=tuple(waiting),
        open_count=len(waiting),
        last_operations=tuple(ended),
        last_requested=draw(st.none() | _ENDED),
        last_change=draw(st.none() | _ENDED),
        desired_by=draw(st.none() | _ENDED),
        running_operations=draw(st.integers(0, 2)),
        dead_letters=draw(st.sampled_from([(), (DEAD_LETTER,)])),
        restored_at=draw(st.none() | _TIMES),
        exit_report=draw(st.sampled_from([None, EXIT_REPORT, exit_report_with(NO_PERMISSION)])),
        engine_starts=tuple(draw(st.lists(st.builds(DockerStart, _TIMES, st.none() | _TIMES), max_size=2))),
        heartbeats=draw(st.dictionaries(st.sampled_from(["canary", "full_reconcile", "sweeper"]), _TIMES)),
    )


@settings(max_examples=120, deadline=None)
@given(facts())
def test_there_is_always_one_cause_with_a_text_and_a_next_step(known: Facts) -> None:
    explanation = explain(known, now=NOW)

    assert explanation.cause in set(Cause)
    assert GAME in explanation.headline
    assert explanation.next_step.text.strip()
    assert explanation.next_automatic.text.strip()
    assert explanation.headline in " ".join(render(json.loads(json.dumps(explanation.as_json()))).split())


@settings(max_examples=120, deadline=None)
@given(facts())
def test_no_text_has_a_gap_where_something_is_not_known(known: Facts) -> None:
    explanation = explain(known, now=NOW)

    texts = [
        explanation.headline,
        explanation.next_step.text,
        explanation.next_step.command,
        explanation.next_automatic.text,
    ]
    texts += [*(one.text for one in explanation.blocked_by), *(one.text for one in explanation.notes)]
    assert [text for text in texts if text != " ".join(text.split())] == []
    assert not explanation.next_step.command.endswith("''")


@settings(max_examples=120, deadline=None)
@given(facts())
def test_nothing_is_proposed_that_cannot_work_now(known: Facts) -> None:
    step = diagnose(known, now=NOW).step

    if step.verb is None:
        return
    assert not known.open_operations
    assert known.docker_state.is_known
    assert not known.redis_reason
    assert known.record is not None or step.verb == "start"
    assert not (step.verb in {"restart", "patch"} and known.status == RuntimeStatus.REMOVED)
    assert not (step.verb == "cleanup" and (known.docker_state.is_up or known.status == RuntimeStatus.RUNNING))
    assert known.docker_state.network_exists
    assert known.docker_state.foreign is None
    assert step.verb != "start" or step.arguments["image_ref"]
    is_refused_for_state = known.last_requested is not None and failed_step(known.last_requested) == "prepare_state"
    assert not (is_refused_for_state and (known.state_directory.is_missing or known.state_directory.is_root_wrong))


@settings(max_examples=120, deadline=None)
@given(facts())
def test_an_unknown_state_is_never_reported_as_missing(known: Facts) -> None:
    diagnosis = diagnose(known, now=NOW)

    if known.docker_state.is_known:
        return
    has_open_operation = known.next_operation is not None and not known.docker_state.is_asked
    assert diagnosis.cause in _OUTSIDE_OF_THE_GAME | (_OF_OPEN_OPERATIONS if has_open_operation else set())
    assert not _CLAIMS_ABSENCE.search(f"{diagnosis.headline} {diagnosis.detail}")


@settings(max_examples=120, deadline=None)
@given(facts())
def test_a_running_game_is_never_reported_as_down_and_never_started_again(known: Facts) -> None:
    diagnosis = diagnose(known, now=NOW)

    if not known.docker_state.is_up:
        return
    assert "is down" not in diagnosis.headline
    # A start gives a renamed container its name back, and the game goes on meanwhile.
    assert diagnosis.step.verb != "start" or diagnosis.cause == Cause.ENDPOINT_DEAD
    assert diagnosis.cause not in {
        Cause.CONTAINER_DISAPPEARED,
        Cause.NEVER_STARTED,
        Cause.STOPPED_ON_REQUEST,
        Cause.REMOVED,
    }


@settings(max_examples=120, deadline=None)
@given(facts())
def test_docker_is_blamed_only_for_a_game_whose_record_or_times_say_so(known: Facts) -> None:
    diagnosis = diagnose(known, now=NOW)

    if diagnosis.cause != Cause.DOCKER_RESTARTED:
        return
    assert known.record is not None
    assert known.record.ended_by == EndedBy.DOCKER_RESTARTED or known.engine_starts
    assert not known.docker_state.is_up

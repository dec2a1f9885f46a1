"""Whatever is known of a game, also what should never be: one cause, a next step, and nothing that is wrong to do."""

import json
import re
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from operations.diagnosis.facts import Facts, Sight, StateDirectory
from operations.diagnosis.table import diagnose
from operations.diagnosis.verdicts import Cause
from operations.explain import explain
from operations.explain_text import render
from operations.models import Operation
from operations.states import OpKind, OpSource, OpState, Outcome
from runtimes.containers.base import Container, ContainerState
from runtimes.exceptions import ErrorCode
from runtimes.models import HealthSnapshot, Runtime
from runtimes.states import RuntimeStatus
from tests.unit.operations.explained_games import (
    BOX,
    CONTAINER_ID,
    GAME,
    IMAGE,
    LETTER,
    NETWORK,
    NOW,
    OTHER_ID,
    OTHER_IMAGE,
    RULES,
    STRANGER,
    container,
    operation,
    record,
    snapshot,
)

_IDS = st.sampled_from([CONTAINER_ID, OTHER_ID])
_IMAGES = st.sampled_from([IMAGE, OTHER_IMAGE])
_TIMES = st.integers(-7200, 100_000).map(lambda seconds: NOW - timedelta(seconds=seconds))
_STEPS = ("observe", "validate", "prepare_state", "inspect_image", "pull", "create", "start", "settle", "revert")
_OUTSIDE_OF_THE_GAME = {Cause.DOCKER_UNREACHABLE, Cause.REDIS_DOWN, Cause.WORKER_DOWN, Cause.NEVER_STARTED}
_OF_GAMES_THAT_ARE_DOWN = {Cause.CONTAINER_DISAPPEARED, Cause.NEVER_STARTED, Cause.STOPPED_AS_ASKED, Cause.REMOVED}
_CLAIMS_ABSENCE = re.compile(r"\b(gone|disappeared|no container|does not run|removed outside)\b")


@st.composite
def containers(draw: st.DrawFn) -> Container:
    return container(
        draw(st.sampled_from(ContainerState)),
        id=draw(_IDS),
        exit_code=draw(st.sampled_from([0, 1, 137, 143])),
        oom_killed=draw(st.booleans()),
        health=draw(st.sampled_from(["", "starting", "healthy", "unhealthy"])),
        started_at=draw(st.none() | _TIMES),
        finished_at=draw(st.none() | _TIMES),
        addresses=draw(st.sampled_from([{}, {NETWORK: "172.20.0.5"}, {"bridge": "172.17.0.2"}])),
    )


@st.composite
def sights(draw: st.DrawFn) -> Sight:
    if draw(st.integers(0, 4)) == 0:
        return Sight(is_known=False, reason="no answer within 2 s")
    return Sight(
        is_known=True,
        own=draw(st.none() | containers()),
        foreign=draw(st.none() | st.just(STRANGER)),
        network_exists=draw(st.booleans()),
        has_image=draw(st.none() | st.booleans()),
    )


@st.composite
def records(draw: st.DrawFn) -> Runtime:
    status = draw(st.sampled_from(RuntimeStatus))
    optional = {"started_at": draw(st.none() | _TIMES), "stopped_at": draw(st.none() | _TIMES)}
    return record(status.value, current_image_ref=draw(st.none() | _IMAGES), **optional)


def _step(name: str, *, ended: bool, error: str) -> dict[str, Any]:
    began = {"name": name, "started_at": "2026-11-21T03:00:00Z"}
    return {**began, "duration_ms": 5 if ended else None, "error": error}


_STEP_LISTS = st.lists(
    st.builds(_step, st.sampled_from(_STEPS), ended=st.booleans(), error=st.sampled_from(["", "why"])), max_size=3
)


@st.composite
def operations(draw: st.DrawFn, *, state: OpState) -> Operation:
    is_ended = state == OpState.FINISHED
    outcome = draw(st.sampled_from(Outcome)) if is_ended else None
    is_failure = outcome == Outcome.FAILURE
    return operation(
        draw(st.sampled_from(OpKind)).value,
        draw(st.integers(1, 20)),
        op_source=draw(st.sampled_from(OpSource)).value,
        state=state.value,
        outcome=outcome.value if outcome else None,
        error_code=draw(st.sampled_from(ErrorCode)).value if is_failure else "",
        error_message=draw(st.sampled_from(["", "because", "the old image could not be put back either"])),
        image_ref=draw(st.just("") | _IMAGES),
        arguments=draw(st.sampled_from([{}, {"no_start": True}])),
        steps=draw(_STEP_LISTS),
        attempt=draw(st.integers(0, 5)),
        deferrals=draw(st.integers(0, 5)),
        awaits_image=draw(st.sampled_from(["", OTHER_IMAGE])) if state == OpState.ACCEPTED else "",
        not_before=draw(st.none() | _TIMES) if state == OpState.ACCEPTED else None,
        lease_until=draw(_TIMES) if state == OpState.RUNNING else None,
        accepted_at=draw(_TIMES),
        started_at=draw(_TIMES) if state != OpState.ACCEPTED else None,
        finished_at=draw(_TIMES) if is_ended else None,
    )


_ENDED = operations(state=OpState.FINISHED)
_OPEN = operations(state=OpState.ACCEPTED) | operations(state=OpState.RUNNING)
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
        rules=RULES,
        sight=draw(sights()),
        state_directory=draw(st.builds(StateDirectory, st.booleans(), st.booleans(), st.sampled_from([0, 10**9]))),
        redis_reason=reason,
        record=draw(st.none() | records()),
        snapshot=draw(st.none() | snapshots()),
        open_operations=tuple(waiting),
        open_count=len(waiting),
        last_operations=tuple(ended),
        last_asked=draw(st.none() | _ENDED),
        last_change=draw(st.none() | _ENDED),
        desired_by=draw(st.none() | _ENDED),
        living_claims=draw(st.integers(0, 2)),
        dead_letters=draw(st.sampled_from([(), (LETTER,)])),
        black_box=draw(st.none() | st.just(BOX)),
        pulses=draw(st.dictionaries(st.sampled_from(["canary", "relist", "sweeper"]), _TIMES)),
    )


@settings(max_examples=120, deadline=None)
@given(facts())
def test_there_is_always_one_cause_with_words_and_a_next_step(known: Facts) -> None:
    told = explain(known, now=NOW)

    assert told.cause in set(Cause)
    assert GAME in told.headline
    assert told.next_step.text.strip()
    assert told.next_automatic.text.strip()
    assert told.headline in " ".join(render(json.loads(json.dumps(told.as_json()))).split())


@settings(max_examples=120, deadline=None)
@given(facts())
def test_nothing_is_proposed_that_cannot_work_now(known: Facts) -> None:
    step = diagnose(known, now=NOW).step

    if step.verb is None:
        return
    assert not known.open_operations
    assert known.sight.is_known
    assert not known.redis_reason
    assert known.record is not None or step.verb == "start"
    assert not (step.verb in {"restart", "patch"} and known.status == RuntimeStatus.REMOVED)
    assert not (step.verb == "cleanup" and (known.sight.is_up or known.status == RuntimeStatus.RUNNING))
    assert known.sight.network_exists
    assert known.sight.foreign is None or known.sight.own is not None
    assert step.verb != "start" or step.arguments["image_ref"]


@settings(max_examples=120, deadline=None)
@given(facts())
def test_what_is_unknown_is_never_said_to_be_gone(known: Facts) -> None:
    verdict = diagnose(known, now=NOW)

    if known.sight.is_known:
        return
    assert verdict.cause in _OUTSIDE_OF_THE_GAME
    assert not _CLAIMS_ABSENCE.search(f"{verdict.headline} {verdict.detail}")


@settings(max_examples=120, deadline=None)
@given(facts())
def test_a_game_seen_running_is_never_said_not_to_run_and_never_started_anew(known: Facts) -> None:
    verdict = diagnose(known, now=NOW)

    if not known.sight.is_up:
        return
    assert "does not run" not in verdict.headline
    assert verdict.step.verb != "start"
    assert verdict.cause not in {
        Cause.CONTAINER_DISAPPEARED,
        Cause.NEVER_STARTED,
        Cause.STOPPED_AS_ASKED,
        Cause.REMOVED,
    }

"""The judge of the storm must see what is wrong: each invariant is hurt by hand once."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from deploy.local.docker.sample_images import SAMPLE_TAGS
from tests.chaos.storm.callers import CallResult
from tests.chaos.storm.collected_records import Container, Entry, Evidence, Operation, Record
from tests.chaos.storm.lobby import TAG
from tests.chaos.storm.script import Call, InvalidEntry, Job, Kind, Scale, write
from tests.chaos.storm.verdict import Case, evaluate

IMAGE, OTHER = SAMPLE_TAGS
GAME, CALLED = f"{Kind.PLAIN}-0", f"{Kind.CALLED}-0"
STARTS, STOPS = "starts", "stops"


def job(ms: int, tag: int, **fields: str) -> Entry:
    return Entry(ms, 0, STARTS if "image_ref" in fields else STOPS, {"game_id": GAME, TAG: str(tag), **fields})


def result(ms: int, code: str = "", outcome: str = "success") -> Entry:
    return Entry(ms, 0, "results", {"game_id": GAME, "outcome": outcome, "error_code": code})


def operation(number: int, **differences: object) -> Operation:
    start = Operation(
        number,
        CALLED,
        "start",
        "lobby_stream",
        "",
        f"job {number}",
        IMAGE,
        "finished",
        "success",
        "",
        0,
        has_lease=False,
    )
    return start._replace(**differences)  # type: ignore[arg-type]  # whatever a test is about


CALL = Call("key", CALLED, "restart")
RESTART = operation(12, kind="restart", source="gm_rest", source_ref="key", image="")
WELL = Case(
    evidence=Evidence(
        jobs=[job(1, 1, image_ref=IMAGE), job(2, 2, image_ref=IMAGE), job(3, 3, reason="finished")],
        results=[result(11), result(12, "replay_no_op"), result(13)],
        dead_letters=[],
        pending=0,
        lag=0,
        operations=[operation(11), RESTART],
        published={"starts:1-0": "11-0", "starts:2-0": "12-0", "stops:3-0": "13-0"},
        unpublished=0,
        records=[Record(GAME, "stopped", "c1", IMAGE), Record(CALLED, "running", "c2", IMAGE)],
        connections=5,
        containers=[Container("c1", GAME, IMAGE, "exited"), Container("c2", CALLED, IMAGE, "running")],
    ),
    written={1: Job(GAME, image=IMAGE), 2: Job(GAME, image=IMAGE), 3: Job(GAME, reason="finished")},
    call_results=[CallResult(CALL, 200, "")],
    most_connections=5,
)
SEEN = WELL.evidence
SWAPPED = {"starts:1-0": "12-0", "starts:2-0": "11-0", "stops:3-0": "13-0"}
HURTS: dict[str, Callable[[], Case]] = {
    "missing": lambda: looking(results=SEEN.results[:2]),
    "double": lambda: looking(results=[*SEEN.results, result(14)]),
    "out of order": lambda: looking(published=SWAPPED),
    "unexpected answers": lambda: looking(results=[result(11), result(12), result(13)]),
    "wrong REST answers": lambda: looking(operations=[operation(11), RESTART, RESTART._replace(id=13)]),
    "wrong dead letters": lambda: replace(WELL, written={**WELL.written, 3: InvalidEntry({})}),
    "two at once": lambda: replace(WELL, doubles={GAME: "2"}),
    "record≠Docker": lambda: looking(containers=[SEEN.containers[0], Container("c2", CALLED, OTHER, "running")]),
    "leaked containers": lambda: looking(containers=[*SEEN.containers, Container("c3", GAME, IMAGE, "created")]),
    "leaked connections": lambda: looking(connections=6),
    "pending": lambda: looking(pending=1),
    "unread": lambda: looking(lag=1),
    "open operations": lambda: looking(
        operations=[*SEEN.operations, operation(13, code="replay_no_op", state="running")]
    ),
    "open leases": lambda: looking(operations=[*SEEN.operations, operation(13, code="replay_no_op", has_lease=True)]),
    "unpublished": lambda: looking(unpublished=1),
}


def looking(**differences: object) -> Case:
    return replace(WELL, evidence=replace(SEEN, **differences))  # type: ignore[arg-type]  # the same


def test_a_storm_in_which_everything_held_is_clean() -> None:
    assert evaluate(WELL).is_clean


@pytest.mark.parametrize("invariant", HURTS)
def test_a_hurt_invariant_is_found(invariant: str) -> None:
    assert evaluate(HURTS[invariant]()).violations[invariant] != []


def test_every_invariant_is_hurt_once_here() -> None:
    assert set(evaluate(WELL).violations) == set(HURTS)


def test_a_job_that_killed_its_worker_three_times_may_be_given_up() -> None:
    given_up = operation(13, game_id=GAME, job_key="starts:1-0", deaths=3, outcome="failure", code="internal_error")
    results = [result(11, "internal_error", "failure"), result(12), result(13)]

    verdict = evaluate(looking(operations=[*SEEN.operations, given_up], results=results))

    assert verdict.is_clean, verdict.violations


def test_the_same_seed_writes_the_same_script() -> None:
    scale = Scale(jobs=200, kills=30, server_kills=6, pauses=3, manual_changes=5, seed=4)

    script = write(scale)

    assert script == write(scale)
    assert sum(isinstance(step, Job) for step in script.steps) == 200
    assert len(script.faults) == 39

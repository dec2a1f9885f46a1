"""Properties of operations: any order, late and doubled notifications, faults at any call, changes by operators."""

from collections.abc import Sequence

import pytest

from operations.states import OperationKind, OperationState, Outcome
from runtimes.containers.base import Container
from tests.properties.cases import holds_for
from tests.properties.events import (
    COPY_NAME,
    OUTSIDE,
    Move,
    Requested,
    anything,
    copied,
    foreign_comes,
    is_renamed,
    ours,
    reconciles,
)
from tests.properties.simulation import GAME, OLD, Bench
from tests.properties.test_reconcile_plan import assert_agreement

pytestmark = pytest.mark.usefixtures("bench_rules")


def played(moves: Sequence[Move], bench: Bench | None = None) -> Bench:
    bench = bench or Bench()
    for move in moves:
        move(bench)
    return bench


@holds_for(anything, cases=3_000)
def test_never_two_live_containers_of_ours(moves: Sequence[Move]) -> None:
    bench = Bench()
    most = 0

    def look() -> None:
        nonlocal most
        most = max(most, sum(one.is_alive and one.name != COPY_NAME for one in bench.owned()))

    bench.engine.after_each_call = look
    played(moves, bench)
    bench.drain()

    assert most <= 1


def test_a_container_renamed_before_its_start_was_recorded_gets_no_second_one_beside_it() -> None:
    killed_after_docker_start = 32
    bench = played([Requested(kind=1, fault=killed_after_docker_start), is_renamed])
    assert [one.name for one in bench.owned() if one.is_alive] == ["kept"]

    bench.drain()

    assert [one.name for one in bench.owned()] == [f"galaxy-game-{GAME}"]


def test_a_worker_suspended_before_its_start_call_does_not_undo_a_later_stop() -> None:
    killed_after_docker_start, suspended_before_docker_start = 32, 30

    bench = played(
        [
            Requested(kind=1, fault=killed_after_docker_start),
            Requested(kind=0, fault=suspended_before_docker_start),
        ]
    )

    assert bench.record is not None
    assert bench.record.status == "stopped"
    assert bench.made_and_alive() == []


@holds_for(ours, cases=3_000)
def test_a_stop_is_never_undone_by_a_late_start(moves: Sequence[Move]) -> None:
    bench = played(moves)
    bench.ask(OperationKind.STOP, {"reason": "finished"})
    bench.drain()

    for operation in bench.operations:
        bench.work(operation)
    bench.reconcile()

    assert bench.made_and_alive() == []
    assert bench.record is None or bench.record.status != "running"


@holds_for(anything, cases=2_000)
def test_a_foreign_container_is_never_touched_by_an_operation(moves: Sequence[Move]) -> None:
    bench = Bench()
    foreign_comes(bench)
    foreign: list[Container] = bench.foreign()

    played(moves, bench)
    bench.drain()
    bench.reconcile()

    assert bench.foreign() == foreign


@holds_for(anything, cases=3_000)
def test_after_a_drain_and_a_reconcile_the_record_says_what_docker_shows(moves: Sequence[Move]) -> None:
    bench = played(moves)

    bench.drain()
    bench.reconcile()

    assert_agreement(bench)
    assert [one for one in bench.findings() if one.op_kind is not None] == []


@holds_for(anything, cases=2_000)
def test_a_copy_that_an_operator_runs_beside_a_game_is_never_changed(moves: Sequence[Move]) -> None:
    bench = Bench()
    bench.ask(OperationKind.START, {"image_ref": OLD})
    bench.drain()
    copied(bench)
    copies = [one for one in bench.owned() if one.name == COPY_NAME]

    played([one for one in moves if one not in OUTSIDE or one is reconciles], bench)
    bench.drain()
    bench.reconcile()

    assert len(copies) == 1
    assert [one for one in bench.owned() if one.name == COPY_NAME] == copies


@holds_for(anything, cases=2_000)
def test_operations_end_in_the_order_of_their_acceptance_and_none_is_left(moves: Sequence[Move]) -> None:
    bench = played(moves)

    bench.drain()

    fences = [one.fence or 0 for one in bench.operations]
    assert {one.state for one in bench.operations} <= {OperationState.FINISHED}
    assert fences == sorted(set(fences))


@holds_for(ours, cases=2_000)
def test_a_failed_start_of_a_new_game_leaves_nothing_behind(moves: Sequence[Move]) -> None:
    bench = played(moves)
    bench.drain()
    # A worker that resumes late may have created a container that is never started; reconcile removes it.
    assert bench.made_and_alive() == [] or bench.record is not None
    bench.reconcile()

    if not any(one.outcome == Outcome.SUCCESS for one in bench.operations):
        assert bench.owned() == []
        assert bench.record is None

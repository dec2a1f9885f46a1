"""Properties of the operations themselves: any order, late and doubled hints, faults at any call, people who meddle."""

from collections.abc import Sequence

import pytest

from operations.states import OpKind, OpState, Outcome
from runtimes.containers.base import Container
from tests.properties.bench import Bench
from tests.properties.cases import holds_for
from tests.properties.moves import Move, anything, foreign_comes, ours
from tests.properties.test_reconciler import assert_agreement

pytestmark = pytest.mark.usefixtures("bench_rules")


def played(moves: Sequence[Move], bench: Bench | None = None) -> Bench:
    bench = bench or Bench()
    for move in moves:
        move(bench)
    return bench


@holds_for(anything, cases=3_000)
def test_never_two_live_containers(moves: Sequence[Move]) -> None:
    bench = Bench()
    most = 0

    def look() -> None:
        nonlocal most
        most = max(most, sum(one.is_alive for one in bench.owned()))

    bench.engine.after_each_call = look
    played(moves, bench)
    bench.drain()

    assert most <= 1


@holds_for(ours, cases=3_000)
def test_a_stop_is_never_undone_by_a_late_start(moves: Sequence[Move]) -> None:
    bench = played(moves)
    bench.ask(OpKind.STOP, {"reason": "finished"})
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
def test_operations_end_in_the_order_of_their_acceptance_and_none_is_left(moves: Sequence[Move]) -> None:
    bench = played(moves)

    bench.drain()

    fences = [one.fence or 0 for one in bench.operations]
    assert {one.state for one in bench.operations} <= {OpState.FINISHED}
    assert fences == sorted(set(fences))


@holds_for(ours, cases=2_000)
def test_a_failed_start_of_a_new_game_leaves_nothing_behind(moves: Sequence[Move]) -> None:
    bench = played(moves)
    bench.drain()
    # A worker that wakes up late may have put back an empty shell, which nobody starts; reconcile takes it away.
    assert bench.made_and_alive() == [] or bench.record is not None
    bench.reconcile()

    if not any(one.outcome == Outcome.SUCCESS for one in bench.operations):
        assert bench.owned() == []
        assert bench.record is None

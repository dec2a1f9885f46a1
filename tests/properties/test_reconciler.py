"""Properties of finding drift and mending it: plan(), and the real repairs applied to what it found."""

from random import Random

import pytest
from hypothesis import strategies as st

from operations.reconciler import Unknown, plan
from operations.states import OpKind
from runtimes.containers.base import ContainerState
from runtimes.states import RuntimeStatus
from tests.properties.bench import GAME, STACK, Bench
from tests.properties.cases import every, holds_for
from tests.properties.moves import AWAY
from tests.properties.worlds import COUNT_WITH_ONE_CONTAINER, ENDED, REPLACED, World, numbers, world, worlds

pytestmark = pytest.mark.usefixtures("bench_rules")

FINISHED = {(GAME, ENDED), (GAME, REPLACED)}


def test_never_act_on_unknown() -> None:
    for number in every(range(COUNT_WITH_ONE_CONTAINER), of="never act on unknown"):
        known = world(number).recorded()

        assert plan(known, Unknown("away"), busy=(), finished_operations=FINISHED) == []


@holds_for(numbers, st.integers(1, 12), cases=3_000)
def test_never_act_on_unknown_while_a_repair_looks_again(number: int, moment: int) -> None:
    """Docker goes away before, between and after the calls of a repair: the record stays, and the repair waits."""
    bench = world(number).bench()
    record = bench.record

    def go_away() -> None:
        raise AWAY

    for finding in [one for one in bench.findings() if one.op_kind]:
        bench.engine.break_at(moment, go_away)
        asked = bench.mend(finding)
        bench.work(asked)
        if asked.is_open:
            assert bench.record is record
        bench.drain()
        record = bench.record


@holds_for(worlds, cases=5_000)
def test_a_foreign_container_is_never_touched(of: World) -> None:
    bench = of.bench()
    foreign = bench.foreign()

    bench.reconcile()
    bench.reconcile()

    assert bench.foreign() == foreign


@holds_for(worlds, cases=8_000)
def test_plan_applied_twice_is_plan_applied_once(of: World) -> None:
    bench = of.bench()

    bench.reconcile()

    assert [one for one in bench.findings() if one.op_kind is not None] == []


def test_plan_applied_twice_is_plan_applied_once_in_every_world_of_one_container() -> None:
    for number in every(range(COUNT_WITH_ONE_CONTAINER), of="plan applied twice is plan applied once"):
        bench = world(number).bench()
        bench.reconcile()
        assert bench.findings() == bench.findings()
        assert [one for one in bench.findings() if one.op_kind is not None] == []


@holds_for(worlds, cases=5_000)
def test_after_the_repairs_the_record_says_what_docker_shows(of: World) -> None:
    bench = of.bench()

    bench.reconcile()

    assert_agreement(bench)


@holds_for(worlds, st.sampled_from(list(RuntimeStatus)), cases=5_000)
def test_adopt_never_overwrites_a_newer_record(of: World, status: RuntimeStatus) -> None:
    bench = of.bench()
    asked = [bench.mend(one) for one in bench.findings() if one.op_kind == OpKind.RECONCILE_ADOPT]
    newer = World((status, "newer"), ()).bench().record
    assert newer is not None
    newer.fence = 50
    bench.record = newer

    for operation in asked:
        bench.work(operation)

    assert bench.record is newer


@holds_for(worlds, cases=4_000)
def test_no_repair_starts_or_stops_anything(of: World) -> None:
    bench = of.bench()
    alive = {one.id for one in bench.owned() if one.is_alive}

    bench.reconcile()

    left = {one.id: one.is_alive for one in bench.owned()}
    leftovers = {one.id for one in of.containers if one.operation_id in {ENDED, REPLACED}}
    assert {container_id for container_id, is_alive in left.items() if is_alive} <= alive
    assert {container_id for container_id in alive if not left.get(container_id)} <= leftovers


@holds_for(numbers, numbers, cases=4_000)
def test_each_game_is_judged_as_if_it_were_alone(first: int, second: int) -> None:
    one, other = world(first, game_id="g1"), world(second, game_id="g2")
    known = {**one.recorded("g1"), **other.recorded("g2")}
    finished = {(game, one) for game in ("g1", "g2") for one in (ENDED, REPLACED)}

    together = plan(known, [*one.containers, *other.containers], busy=(), finished_operations=finished)

    alone = plan(one.recorded("g1"), one.containers, busy=(), finished_operations=finished)
    assert together == alone + plan(other.recorded("g2"), other.containers, busy=(), finished_operations=finished)
    left_alone = plan(known, [*one.containers, *other.containers], busy={"g2"}, finished_operations=finished)
    assert left_alone == alone


@holds_for(worlds, st.randoms(use_true_random=False), cases=2_000)
def test_the_order_of_a_list_decides_only_between_equals(of: World, shuffle: Random) -> None:
    shuffled = list(of.containers)
    shuffle.shuffle(shuffled)

    once = plan(of.recorded(), of.containers, busy=(), finished_operations=FINISHED)
    again = plan(of.recorded(), shuffled, busy=(), finished_operations=FINISHED)

    assert sorted(str(one.op_kind) for one in once) == sorted(str(one.op_kind) for one in again)
    assert {one.container_id for one in once} == {one.container_id for one in again}


def assert_agreement(bench: Bench) -> None:
    """The record is what the engine shows, as far as no container is half gone."""
    owned = bench.owned()
    if any(one.state == ContainerState.REMOVING for one in owned):
        return
    record = bench.record
    own = next((one for one in owned if record and one.id == record.current_container_id), None)
    if record is None:
        assert not any(one.is_alive for one in owned)
    elif record.status == RuntimeStatus.RUNNING:
        assert own is not None
        assert own.is_alive
    elif record.status == RuntimeStatus.STOPPED:
        assert own is not None
        assert not own.is_alive
    assert all(one.is_owned_by(STACK) for one in owned)

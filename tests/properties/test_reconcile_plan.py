"""Properties of the reconcile plan, and of the real repairs applied to its findings."""

from random import Random

import pytest
from hypothesis import strategies as st

from operations.reconcile.plan import plan
from operations.states import OperationKind
from runtimes.container_spec import endpoint_host
from runtimes.containers.base import ContainerState
from runtimes.states import RuntimeStatus
from tests.properties.cases import every, holds_for
from tests.properties.events import AWAY
from tests.properties.scenarios import COUNT_WITH_ONE_CONTAINER, World, numbers, world, worlds
from tests.properties.simulation import STACK, Bench

pytestmark = pytest.mark.usefixtures("bench_rules")


@holds_for(numbers, st.integers(1, 12), cases=3_000)
def test_never_act_on_unknown_while_a_repair_looks_again(number: int, moment: int) -> None:
    """Docker goes away before, between and after the calls of a repair: the record stays, and the repair waits."""
    bench = world(number).bench()
    record = bench.record

    def disconnect() -> None:
        raise AWAY

    for finding in [one for one in bench.findings() if one.op_kind]:
        bench.engine.break_at(moment, disconnect)
        asked = bench.request_repair(finding)
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
    asked = [bench.request_repair(one) for one in bench.findings() if one.op_kind == OperationKind.RECONCILE_ADOPT]
    newer = World((status, "newer"), ()).bench().record
    assert newer is not None
    newer.fence = 50
    bench.record = newer

    for operation in asked:
        bench.work(operation)

    assert bench.record is newer


@holds_for(worlds, cases=4_000)
def test_no_repair_starts_or_ends_anything_but_what_a_failed_operation_left(of: World) -> None:
    bench = of.bench()
    alive = {one.id for one in bench.owned() if one.is_alive}

    bench.reconcile()

    left = {one.id: one.is_alive for one in bench.owned()}
    assert {container_id for container_id, is_alive in left.items() if is_alive} <= alive
    assert {container_id for container_id in alive if not left.get(container_id)} <= of.left_behind()


@holds_for(worlds, cases=5_000)
def test_a_live_container_is_disposed_of_only_if_its_operation_recorded_it_and_failed(of: World) -> None:
    makers, by_id = of.makers(), {one.id: one for one in of.containers}

    findings = plan(of.recorded(), of.bench().owned(), busy=(), creators=makers)

    for one in findings:
        if one.is_leftover and by_id[one.container_id].is_alive:
            maker = makers[one.container_id]
            assert (maker.has_failed, maker.container_id) == (True, one.container_id)


@holds_for(worlds, cases=5_000)
def test_a_stopped_container_is_removed_only_if_it_never_ran_or_its_operation_recorded_it(of: World) -> None:
    bench = of.bench()
    before = {one.id: one for one in bench.owned()}

    bench.reconcile()

    for container_id in before.keys() - {one.id for one in bench.owned()}:
        maker = of.makers()[container_id]
        assert maker.has_failed
        assert maker.container_id == container_id or before[container_id].state == ContainerState.CREATED


@holds_for(worlds, cases=4_000)
def test_what_is_removed_alive_is_stopped_first(of: World) -> None:
    bench = of.bench()
    alive = {one.id for one in bench.owned() if one.is_alive}

    bench.reconcile()

    removed = alive - {one.id for one in bench.owned()}
    assert bench.engine.calls["stop"] == len(removed)


@holds_for(worlds, cases=4_000)
def test_a_live_container_beside_the_recorded_one_is_left_alone_and_reported(of: World) -> None:
    bench = of.bench()
    findings = bench.findings()
    repaired = {one.container_id for one in findings if one.op_kind}
    record = bench.record
    if any(one.state == ContainerState.REMOVING for one in bench.owned()):
        return

    for one in bench.owned():
        is_own = record is not None and one.id == record.current_container_id
        if one.is_alive and not is_own and one.id not in repaired:
            assert one.id in {finding.container_id for finding in findings if finding.op_kind is None}


@holds_for(numbers, numbers, cases=4_000)
def test_each_game_is_judged_as_if_it_were_alone(first: int, second: int) -> None:
    one, other = world(first, game_id="g2"), world(second, game_id="g3")
    known = {**one.recorded("g2"), **other.recorded("g3")}
    makers = {**one.makers(), **other.makers()}

    together = plan(known, [*one.containers, *other.containers], busy=(), creators=makers)

    alone = plan(one.recorded("g2"), one.containers, busy=(), creators=makers)
    assert together == alone + plan(other.recorded("g3"), other.containers, busy=(), creators=makers)
    assert plan(known, [*one.containers, *other.containers], busy={"g3"}, creators=makers) == alone


@holds_for(worlds, st.randoms(use_true_random=False), cases=2_000)
def test_the_order_of_a_list_decides_nothing(of: World, shuffle: Random) -> None:
    shuffled = list(of.containers)
    shuffle.shuffle(shuffled)

    once = plan(of.recorded(), of.containers, busy=(), creators=of.makers())
    again = plan(of.recorded(), shuffled, busy=(), creators=of.makers())

    assert sorted(once, key=str) == sorted(again, key=str)


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
        others = {one.name for one in bench.engine.containers.values() if one is not own}
        assert endpoint_host(record.engine_endpoint) in {"", own.name, *others}
    elif record.status == RuntimeStatus.STOPPED:
        assert own is not None
        assert not own.is_alive
    assert all(one.is_owned_by(STACK) for one in owned)

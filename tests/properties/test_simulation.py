"""The bench's model of claims and records, held against the real runner on a real PostgreSQL."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import strategies as st

from operations.models import Operation, OutboxEvent
from operations.reconcile import survey
from operations.states import OperationKind
from runtimes.container_spec import current_policy
from runtimes.models import HealthSnapshot, Runtime
from tests.conftest import RtmSettings
from tests.integration.harness import Rig
from tests.properties.cases import holds_for
from tests.properties.events import ASKED
from tests.properties.simulation import GAME, IMAGES, Bench

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("unkept_boxes", "any_state_root")]

EXIT, VANISH, RECONCILE = range(len(ASKED), len(ASKED) + 3)


def on_the_bench(moves: Sequence[int]) -> list[object]:
    bench, seen = Bench(), []
    for move in moves:
        if move < len(ASKED):
            bench.work(bench.ask(*ASKED[move]))
        elif move == RECONCILE:
            bench.reconcile()
        for one in bench.owned():
            _meddle(bench, one.id, move)
        record = bench.record
        seen.append((record.status if record else None, [one.state for one in bench.owned()]))
    return [*seen, [(one.op_kind, one.outcome, one.error_code) for one in bench.operations]]


def in_earnest(rig: Rig, moves: Sequence[int]) -> list[object]:
    for model in (HealthSnapshot, Runtime, OutboxEvent, Operation):
        model.objects.all().delete()
    rig.engine.reset()
    rig.engine.networks.add(current_policy().network)
    rig.engine.images.update(IMAGES)
    seen: list[object] = []
    for move in moves:
        if move < len(ASKED):
            kind, arguments = ASKED[move]
            rig.do(rig.ask(kind, GAME, **arguments))
        elif move == RECONCILE:
            _reconcile(rig)
        for container_id in list(rig.engine.containers):
            _meddle(rig, container_id, move)
        record = Runtime.objects.filter(pk=GAME).first()
        seen.append((record.status if record else None, [one.state for one in rig.engine.containers.values()]))
    done = Operation.objects.order_by("id").values_list("op_kind", "outcome", "error_code")
    return [*seen, list(done)]


def _reconcile(rig: Rig) -> None:
    findings, _busy = survey.survey()
    for one in findings:
        if one.op_kind is not None:
            arguments: dict[str, Any] = {
                "container_id": one.container_id,
                "record_fence": one.record_fence,
                "is_leftover": one.is_leftover,
            }
            rig.do(rig.ask(OperationKind(one.op_kind), GAME, **arguments))


def _meddle(place: Bench | Rig, container_id: str, move: int) -> None:
    container = place.engine.containers[container_id]
    if move == EXIT and container.is_alive:
        place.engine.exit(container_id, exit_code=1)
    elif move == VANISH:
        place.engine.remove_externally(container_id)


@holds_for(st.lists(st.integers(0, RECONCILE), min_size=2, max_size=6), cases=30)
def assert_same_end(rig: Rig, moves: Sequence[int]) -> None:
    assert on_the_bench(moves) == in_earnest(rig, moves)


def test_the_model_and_the_real_thing_come_to_the_same_end(rig: Rig, rtm_settings: RtmSettings) -> None:
    rtm_settings(image_pull_policy="never")

    assert_same_end(rig)

"""A container that was renamed by hand: nothing is lost, and the game gets its name back. Docker is in memory."""

from dataclasses import replace

import pytest

from operations import runner
from operations.execution import no_ops
from operations.models import Operation
from operations.reconcile import survey
from operations.states import OperationKind, OperationSource, OperationState, Outcome
from runtimes.container_spec import LABEL_GAME_ID, LABEL_OPERATION_ID, LABEL_OWNER, container_name, endpoint_of
from runtimes.containers.base import Container, ContainerState
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus
from tests.integration.harness import (
    IMAGE,
    OTHER_IMAGE,
    Rig,
    WorkerDiedError,
    expire_lease,
    health_events,
    record,
    results,
)

NAME = container_name("g1")
KEPT = "kept"


def renamed(rig: Rig, container_id: str, name: str = KEPT) -> None:
    """An operator renames a container."""
    rig.engine.containers[container_id] = replace(rig.engine.containers[container_id], name=name)


def taken_by(rig: Rig, *, name: str = NAME, **labels: str) -> str:
    """Another live container gets the name; without labels it is not ours."""
    own = next(iter(rig.engine.containers.values()))
    spec = replace(rig.engine.specs[own.id], name=name, labels=labels)
    container_id = rig.engine.add(spec, image=rig.engine.images[IMAGE])
    rig.engine.start(rig.engine.containers[container_id])
    return container_id


def copy_of(rig: Rig, container_id: str) -> dict[str, str]:
    """The labels of a container, as ``docker commit`` and ``docker run`` keep them."""
    labels = rig.engine.containers[container_id].labels
    return {name: labels[name] for name in labels if name != LABEL_OPERATION_ID}


def world(rig: Rig) -> tuple[dict[str, Container], Runtime]:
    return dict(rig.engine.containers), record()


class TestWithTheNameHeldByAnotherContainer:
    @pytest.mark.parametrize("stopped_first", [False, True], ids=["running", "stopped"])
    @pytest.mark.parametrize("op_kind", [OperationKind.RESTART, OperationKind.PATCH, OperationKind.START])
    @pytest.mark.parametrize("whose", ["foreign", "a copy of ours"])
    def test_an_operation_that_needs_the_name_is_refused_and_touches_nothing(
        self, rig: Rig, op_kind: OperationKind, whose: str, *, stopped_first: bool
    ) -> None:
        own_id = rig.start().container_id
        if stopped_first:
            rig.stop()
        renamed(rig, own_id)
        rival_id = taken_by(rig, **(copy_of(rig, own_id) if whose != "foreign" else {}))
        before = world(rig)
        arguments = {
            OperationKind.RESTART: {},
            OperationKind.PATCH: {"image_ref": OTHER_IMAGE},
            OperationKind.START: {"image_ref": IMAGE},
        }  # fmt: skip

        operation = rig.do(rig.ask(op_kind, source=OperationSource.ADMIN_REST, **arguments[op_kind]))

        assert operation.error_code == "container_start_failed"
        assert (
            rival_id[:12] if op_kind != OperationKind.START or stopped_first else own_id[:12]
        ) in operation.error_message
        assert KEPT in operation.error_message
        assert world(rig) == before

    def test_a_cleanup_does_not_remove_what_was_moved_aside(self, rig: Rig) -> None:
        own_id = rig.start().container_id
        rig.stop()
        renamed(rig, own_id)
        taken_by(rig)
        before = world(rig)

        assert rig.cleanup().error_code == "conflict"
        assert world(rig) == before

    def test_a_cleanup_removes_an_adopted_container_whatever_holds_the_name_of_the_game(self, rig: Rig) -> None:
        own_id = rig.start().container_id
        rig.stop()
        renamed(rig, own_id)
        Runtime.objects.update(engine_endpoint=endpoint_of(KEPT))
        foreign_id = taken_by(rig)

        assert rig.cleanup().outcome == Outcome.SUCCESS
        assert list(rig.engine.containers) == [foreign_id]

    def test_a_stop_stops_the_recorded_container_and_not_the_holder_of_the_name(self, rig: Rig) -> None:
        own_id = rig.start().container_id
        renamed(rig, own_id)
        copy_id = taken_by(rig, **copy_of(rig, own_id))

        assert rig.stop().outcome == Outcome.SUCCESS
        assert rig.engine.containers[own_id].state == ContainerState.EXITED
        assert rig.engine.containers[copy_id].is_alive
        assert record().current_container_id == own_id

    def test_reconcile_leaves_the_name_to_its_holder_and_asks_for_nothing(self, rig: Rig) -> None:
        renamed(rig, rig.start().container_id)
        taken_by(rig)
        before = world(rig)

        assert survey.reconcile_all() == 1
        [finding] = survey.survey()[0]
        assert finding.op_kind is None
        assert "renamed" in finding.reason
        assert world(rig) == before
        assert not Operation.objects.filter(op_source=OperationSource.AUTO_RECONCILE).exists()

    def test_a_dead_container_of_ours_under_the_name_is_replaced_together_with_the_recorded_one(self, rig: Rig) -> None:
        own_id = rig.start().container_id
        renamed(rig, own_id)
        rig.engine.exit(taken_by(rig, **copy_of(rig, own_id)), exit_code=1)

        assert rig.restart().outcome == Outcome.SUCCESS
        assert list(rig.engine.containers) == [record().current_container_id]


class TestWithTheNameFree:
    def test_a_start_of_the_running_game_gives_the_name_back_and_is_no_replay(self, rig: Rig) -> None:
        own_id = rig.start().container_id
        before = record()
        renamed(rig, own_id)

        operation = rig.start()

        assert (operation.outcome, operation.error_code, operation.container_id) == (Outcome.SUCCESS, "", own_id)
        assert operation.engine_endpoint == before.engine_endpoint
        assert KEPT not in operation.engine_endpoint
        assert "renamed" in operation.error_message
        assert rig.engine.containers[own_id].name == NAME
        assert record() == before
        assert results()[-1]["error_code"] == ""
        assert health_events() == ["container_started"]

    def test_a_start_with_another_image_is_a_conflict_and_renames_nothing(self, rig: Rig) -> None:
        own_id = rig.start().container_id
        renamed(rig, own_id)

        assert rig.start(image_ref=OTHER_IMAGE).error_code == "conflict"
        assert rig.engine.containers[own_id].name == KEPT

    @pytest.mark.parametrize("moment", ["fail_before", "fail_after"])
    @pytest.mark.parametrize("how", ["start", "reconcile"])
    def test_a_worker_that_dies_around_the_rename_loses_nothing(self, rig: Rig, how: str, moment: str) -> None:
        own_id = rig.start().container_id
        renamed(rig, own_id)
        getattr(rig.engine, moment)("rename", WorkerDiedError())
        if how == "start":
            operation = rig.ask_start()
        else:
            survey.reconcile_all()
            operation = Operation.objects.get(op_source=OperationSource.AUTO_RECONCILE)
        with pytest.raises(WorkerDiedError):
            runner.run(operation.pk)
        expire_lease(operation)

        again = rig.do(operation)

        assert (again.outcome, again.error_code, again.container_id) == (Outcome.SUCCESS, "", own_id)
        assert rig.engine.containers[own_id].name == NAME
        assert rig.engine.containers[own_id].is_alive

    def test_reconcile_gives_the_name_back_and_then_has_nothing_to_find(self, rig: Rig) -> None:
        own_id = rig.start().container_id
        before = record()
        renamed(rig, own_id)

        assert survey.reconcile_all() == 1
        operation = rig.do(Operation.objects.get(op_source=OperationSource.AUTO_RECONCILE))

        assert (operation.op_kind, operation.outcome) == (OperationKind.RECONCILE_ADOPT, Outcome.SUCCESS)
        assert rig.engine.containers[own_id].name == NAME
        assert record() == before
        assert survey.survey()[0] == []

    def test_a_repair_finds_the_name_taken_meanwhile(self, rig: Rig) -> None:
        own_id = rig.start().container_id
        renamed(rig, own_id)
        survey.reconcile_all()
        taken_by(rig)

        operation = rig.do(Operation.objects.get(op_source=OperationSource.AUTO_RECONCILE))

        assert operation.error_code == "container_start_failed"
        assert rig.engine.containers[own_id].is_alive

    @pytest.mark.parametrize("op_kind", [OperationKind.RESTART, OperationKind.PATCH])
    def test_a_restart_or_patch_puts_one_container_with_the_name_in_its_place(
        self, rig: Rig, op_kind: OperationKind
    ) -> None:
        renamed(rig, rig.start().container_id)

        operation = rig.restart() if op_kind == OperationKind.RESTART else rig.patch(OTHER_IMAGE)

        assert operation.outcome == Outcome.SUCCESS
        [container] = rig.engine.containers.values()
        assert (container.id, container.name) == (record().current_container_id, NAME)

    def test_a_container_that_was_adopted_under_its_own_name_keeps_it(self, rig: Rig) -> None:
        own_id = rig.start().container_id
        renamed(rig, own_id)
        Runtime.objects.update(engine_endpoint=endpoint_of(KEPT))

        assert rig.start().error_code == "replay_no_op"
        assert survey.survey()[0] == []
        assert rig.engine.containers[own_id].name == KEPT

    def test_an_adopted_container_gets_the_name_of_its_endpoint_back(self, rig: Rig) -> None:
        own_id = rig.start().container_id
        Runtime.objects.update(engine_endpoint=endpoint_of("adopted"))

        assert rig.start().error_code == ""
        assert rig.engine.containers[own_id].name == "adopted"

    def test_a_container_started_by_hand_under_another_name_gets_its_own_back_when_it_is_recorded(
        self, rig: Rig
    ) -> None:
        own_id = rig.start().container_id
        rig.stop()
        renamed(rig, own_id)
        rig.engine.start(rig.engine.containers[own_id])

        survey.reconcile_all()
        rig.do(Operation.objects.get(op_source=OperationSource.AUTO_RECONCILE))

        assert rig.engine.containers[own_id].name == NAME
        assert (record().status, record().engine_endpoint) == (RuntimeStatus.RUNNING, endpoint_of(NAME))

    def test_it_is_recorded_under_the_other_name_when_its_own_is_taken(self, rig: Rig) -> None:
        own_id = rig.start().container_id
        rig.stop()
        renamed(rig, own_id)
        rig.engine.start(rig.engine.containers[own_id])
        taken_by(rig)

        survey.reconcile_all()
        rig.do(Operation.objects.get(op_source=OperationSource.AUTO_RECONCILE))

        assert (record().status, record().engine_endpoint) == (RuntimeStatus.RUNNING, endpoint_of(KEPT))


class TestTheShortWay:
    """What completes without a claim must not take a game for up that nothing reaches."""

    def test_a_job_from_the_stream_waits_for_a_worker(self, rig: Rig) -> None:
        renamed(rig, rig.start().container_id)
        operation = rig.ask_start()

        no_ops.complete_waiting(["g1"])

        operation.refresh_from_db()
        assert operation.state == OperationState.ACCEPTED

    def test_a_call_is_no_no_op_until_the_container_has_the_name_in_the_endpoint(self, rig: Rig) -> None:
        own_id = rig.start().container_id
        renamed(rig, own_id)
        assert rig.start(source=OperationSource.GM_REST).error_code == ""
        # The name of the game, but not the one in the endpoint.
        Runtime.objects.update(engine_endpoint=endpoint_of("adopted"))
        assert rig.start(source=OperationSource.GM_REST).error_code == ""
        assert rig.engine.containers[own_id].name == "adopted"

        assert rig.start(source=OperationSource.GM_REST).error_code == "replay_no_op"


def test_a_container_of_another_game_under_the_name_is_not_ours(rig: Rig) -> None:
    own_id = rig.start().container_id
    renamed(rig, own_id)
    labels = rig.engine.containers[own_id].labels
    taken_by(rig, **{**labels, LABEL_GAME_ID: "g2", LABEL_OWNER: labels[LABEL_OWNER]})

    assert rig.restart().error_code == "container_start_failed"
    assert rig.engine.containers[own_id].is_alive

"""Updaters and operators recreate, copy and briefly remove the containers of games."""

from dataclasses import replace
from datetime import timedelta

from operations.models import Operation
from operations.reconcile import survey
from operations.states import OperationKind, OperationSource, Outcome
from tests.conftest import RtmSettings
from tests.integration.harness import IMAGE, Rig, reconcile, record
from tests.servers.waiting import wait_for


class TestRecreatedByHand:
    """Updaters and operators change the containers of games."""

    def recreate(self, rig: Rig, container_id: str, *, name: str = "", remove: bool = True) -> str:
        """A new container with the name and the labels of this one, which is removed first; returns the new id."""
        spec, labels = rig.engine.specs[container_id], rig.engine.containers[container_id].labels
        if remove:
            rig.engine.remove_externally(container_id)
        spec = replace(spec, labels=labels, name=name or spec.name)
        copy_id = rig.engine.add(spec, image=rig.engine.images[IMAGE])
        rig.engine.start(rig.engine.containers[copy_id])
        return copy_id

    def test_a_recreated_container_is_adopted(self, rig: Rig) -> None:
        new_id = self.recreate(rig, rig.start().container_id)

        (operation,) = reconcile()

        assert (operation.op_kind, record().current_container_id) == (OperationKind.RECONCILE_ADOPT, new_id)
        assert reconcile() == []

    def test_so_it_is_after_every_kind_of_history(self, rig: Rig) -> None:
        rig.start()
        rig.stop()
        rig.start(image_ref="galaxy-engine:9.9.9")
        started = rig.start()
        new_id = self.recreate(rig, rig.restart().container_id)

        (operation,) = reconcile()

        assert started.outcome == Outcome.SUCCESS
        assert (operation.op_kind, record().current_container_id) == (OperationKind.RECONCILE_ADOPT, new_id)

    def test_a_copy_beside_the_game_is_left_alone(self, rig: Rig) -> None:
        started = rig.start()
        copy_id = self.recreate(rig, started.container_id, name="a-copy", remove=False)

        assert reconcile() == []
        assert rig.engine.containers[copy_id].is_alive
        findings, _busy = survey.survey()
        assert [(one.op_kind, one.container_id) for one in findings] == [(None, copy_id)]
        assert record().current_container_id == started.container_id

    def test_a_restart_of_a_recreated_game_replaces_its_container(self, rig: Rig) -> None:
        self.recreate(rig, rig.start().container_id)
        reconcile()

        restarted = rig.restart()

        assert restarted.outcome == Outcome.SUCCESS
        assert list(rig.engine.containers) == [restarted.container_id]

    def test_a_recreation_while_the_record_is_looked_at_is_not_overwritten(self, rig: Rig) -> None:
        """The survey finds no container; when the repair checks again, an operator has recreated it."""
        started = rig.start()
        spec, labels = rig.engine.specs[started.container_id], rig.engine.containers[started.container_id].labels
        rig.engine.remove_externally(started.container_id)
        survey.reconcile_all()
        new_id = rig.engine.add(replace(spec, labels=labels), image=rig.engine.images[IMAGE])
        rig.engine.start(rig.engine.containers[new_id])

        assert rig.do(Operation.objects.get(op_kind=OperationKind.RECONCILE_DISPOSE)).error_code == "replay_no_op"
        reconcile_again = survey.survey()[0]

        assert [(one.op_kind, one.container_id) for one in reconcile_again] == [(OperationKind.RECONCILE_ADOPT, new_id)]


class TestReplacementGrace:
    """An updater removes a container and creates it again: what is missing for a moment is not gone."""

    def test_a_container_that_is_created_again_within_the_grace_is_adopted(
        self, rig: Rig, rtm_settings: RtmSettings
    ) -> None:
        rtm_settings(replacement_grace=timedelta(hours=1))
        started = rig.start()
        spec, labels = rig.engine.specs[started.container_id], rig.engine.containers[started.container_id].labels
        rig.engine.remove_externally(started.container_id)

        assert survey.reconcile_games(["g1"]) == {"g1"}
        assert not Operation.objects.filter(op_source=OperationSource.AUTO_RECONCILE).exists()

        new_id = rig.engine.add(replace(spec, labels=labels), image=rig.engine.images[IMAGE])
        rig.engine.start(rig.engine.containers[new_id])
        assert survey.reconcile_games(["g1"]) == set()
        operation = rig.do(Operation.objects.get(op_source=OperationSource.AUTO_RECONCILE))
        assert (operation.op_kind, record().current_container_id) == (OperationKind.RECONCILE_ADOPT, new_id)

    def test_a_container_that_stays_missing_is_recorded_as_gone(self, rig: Rig, rtm_settings: RtmSettings) -> None:
        rtm_settings(replacement_grace=timedelta(milliseconds=50))
        rig.engine.remove_externally(rig.start().container_id)

        asked = wait_for(lambda: survey.reconcile_games(["g1"]) == set(), what="the end of the grace")

        assert asked
        assert (
            Operation.objects.get(op_source=OperationSource.AUTO_RECONCILE).op_kind == OperationKind.RECONCILE_DISPOSE
        )

    def test_the_periodic_reconcile_looks_twice(self, rig: Rig, rtm_settings: RtmSettings) -> None:
        rtm_settings(replacement_grace=timedelta(milliseconds=10))
        started = rig.start()
        container = rig.engine.containers.pop(started.container_id)

        def reconnect() -> None:
            rig.engine.containers[started.container_id] = container

        rig.engine.on_call("list_owned", reconnect)

        assert survey.reconcile_all() == 0

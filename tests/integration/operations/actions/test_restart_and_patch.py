"""Restart, patch and cleanup: what they do, what they refuse, and what a failure leaves. Docker is in memory."""

import pytest

from operations import runner
from operations.models import Operation
from operations.states import OperationKind, OperationSource, OperationState, Outcome
from runtimes.containers.base import ContainerState, ContainersUnavailableError
from runtimes.containers.fake.adapter import FakeImage
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus
from tests.conftest import RtmSettings
from tests.integration.harness import (
    IMAGE,
    OTHER_IMAGE,
    Rig,
    WorkerDiedError,
    end_backoff,
    expire_lease,
    health_events,
    record,
    results,
)

BREAKING_IMAGE = "galaxy-engine:2.0.0"
AWAY = ContainersUnavailableError("Docker is away")


class TestRestart:
    @pytest.mark.parametrize("stopped_first", [False, True], ids=["running", "stopped"])
    def test_a_new_container_of_the_same_image_takes_the_place_of_the_old_one(
        self, rig: Rig, *, stopped_first: bool
    ) -> None:
        started = rig.start()
        if stopped_first:
            rig.stop()
        endpoint = record().engine_endpoint

        operation = rig.restart()

        assert operation.outcome == Outcome.SUCCESS
        assert list(rig.engine.containers) == [record().current_container_id]
        assert record().current_container_id != started.container_id
        assert (record().status, record().current_image_ref) == (RuntimeStatus.RUNNING, IMAGE)
        assert (record().engine_endpoint, record().stopped_at) == (endpoint, None)

    def test_an_unknown_game_is_not_found(self, rig: Rig) -> None:
        assert rig.restart("unknown-game").error_code == "not_found"

    def test_a_removed_game_is_a_conflict(self, rig: Rig) -> None:
        rig.start()
        rig.stop()
        rig.cleanup()

        assert rig.restart().error_code == "conflict"

    def test_nothing_is_disturbed_when_the_image_is_gone(self, rig: Rig) -> None:
        started = rig.start()
        del rig.engine.images[IMAGE]

        assert rig.restart().error_code == "image_pull_failed"
        assert rig.engine.containers[started.container_id].state == ContainerState.RUNNING
        assert record().status == RuntimeStatus.RUNNING

    def test_an_engine_that_does_not_come_up_again_is_recorded_as_removed(self, rig: Rig) -> None:
        rig.start()
        rig.engine.images[IMAGE] = FakeImage(exit_code=3)

        assert rig.restart().error_code == "container_start_failed"
        assert (record().status, record().current_container_id) == (RuntimeStatus.REMOVED, None)
        assert rig.engine.containers == {}

    def test_a_container_that_was_lost_is_created_again_and_the_loss_is_reported(self, rig: Rig) -> None:
        rig.engine.remove_externally(rig.start().container_id)

        assert rig.restart().outcome == Outcome.SUCCESS
        assert record().status == RuntimeStatus.RUNNING
        assert health_events() == ["container_started", "container_disappeared", "container_started"]


class TestPatch:
    def test_the_new_image_takes_the_place_of_the_old_one(self, rig: Rig) -> None:
        started = rig.start()

        operation = rig.patch(OTHER_IMAGE)

        assert operation.outcome == Outcome.SUCCESS
        assert record().current_image_ref == OTHER_IMAGE
        assert record().current_container_id not in {None, started.container_id}
        assert list(rig.engine.containers) == [record().current_container_id]

    def test_the_new_image_is_pulled_before_the_game_is_disturbed(self, rig: Rig) -> None:
        rig.start()
        rig.engine.registry["galaxy-engine:1.0.7"] = FakeImage()

        operation = rig.patch("galaxy-engine:1.0.7")

        names = [step["name"] for step in operation.steps]
        assert names.index("pull") < names.index("stop") < names.index("remove") < names.index("create")

    def test_the_same_image_is_a_replay(self, rig: Rig) -> None:
        started = rig.start()

        assert rig.patch(IMAGE).error_code == "replay_no_op"
        assert record().current_container_id == started.container_id

    @pytest.mark.parametrize(
        ("image_ref", "error_code"),
        [
            (BREAKING_IMAGE, "semver_patch_only"),
            ("galaxy-engine:1.1.0", "semver_patch_only"),
            ("galaxy-engine", "image_ref_not_semver"),
            ("galaxy-engine:latest", "image_ref_not_semver"),
            ("galaxy-engine:1.0", "image_ref_not_semver"),
            ("Not An Image", "start_config_invalid"),
            ("galaxy-engine:1.0.9", "image_pull_failed"),
            ("other.example/galaxy-engine:1.0.1", "start_config_invalid"),
        ],
    )
    def test_a_refused_patch_never_disturbs_the_game(
        self, rig: Rig, rtm_settings: RtmSettings, image_ref: str, error_code: str
    ) -> None:
        rtm_settings(allowed_registries=("docker.io",))
        rig.start()
        before = (dict(rig.engine.containers), Runtime.objects.values().get())

        assert rig.patch(image_ref).error_code == error_code
        assert (dict(rig.engine.containers), Runtime.objects.values().get()) == before

    def test_a_leading_v_is_fine(self, rig: Rig) -> None:
        rig.engine.images["galaxy-engine:v1.0.2"] = FakeImage()
        rig.start()

        assert rig.patch("galaxy-engine:v1.0.2").outcome == Outcome.SUCCESS

    def test_an_old_image_without_a_version_cannot_be_patched(self, rig: Rig) -> None:
        rig.engine.images["galaxy-engine:nightly"] = FakeImage()
        rig.start(image_ref="galaxy-engine:nightly")

        assert rig.patch(IMAGE).error_code == "image_ref_not_semver"

    @pytest.mark.parametrize("bad", [FakeImage(exit_code=3), FakeImage(refuses_start=True)], ids=["dies", "refuses"])
    def test_the_old_image_is_put_back_when_the_new_one_does_not_come_up(self, rig: Rig, bad: FakeImage) -> None:
        rig.start()
        rig.engine.images[OTHER_IMAGE] = bad

        operation = rig.patch(OTHER_IMAGE)

        assert operation.error_code == "container_start_failed"
        assert "was put back, the game is running on it again" in operation.error_message
        assert "revert" in [step["name"] for step in operation.steps]
        container = rig.container()
        assert container is not None
        assert container.state == ContainerState.RUNNING
        assert (record().status, record().current_image_ref) == (RuntimeStatus.RUNNING, IMAGE)
        assert record().current_container_id == container.id

    def test_when_neither_image_comes_up_the_record_says_so(self, rig: Rig) -> None:
        rig.start()
        rig.engine.images[OTHER_IMAGE] = rig.engine.images[IMAGE] = FakeImage(exit_code=3)

        operation = rig.patch(OTHER_IMAGE)

        assert "could not be put back either" in operation.error_message
        assert record().status == RuntimeStatus.REMOVED
        assert rig.engine.containers == {}

    @pytest.mark.parametrize("moment", ["fail_before", "fail_after"])
    @pytest.mark.parametrize("call", ["stop", "remove", "create", "start", "wait_until_exited"])
    def test_a_worker_that_dies_in_the_middle_is_gone_on_from(self, rig: Rig, call: str, moment: str) -> None:
        rig.start()
        getattr(rig.engine, moment)(call, WorkerDiedError())
        operation = rig.ask(OperationKind.PATCH, source=OperationSource.ADMIN_REST, image_ref=OTHER_IMAGE)
        with pytest.raises(WorkerDiedError):
            runner.run(operation.pk)
        expire_lease(operation)

        assert rig.do(operation).outcome == Outcome.SUCCESS
        assert record().current_image_ref == OTHER_IMAGE
        assert list(rig.engine.containers) == [record().current_container_id]
        assert health_events() == ["container_started", "container_started"]

    @pytest.mark.parametrize("call", ["find_image", "create", "start"])
    def test_a_revert_that_is_interrupted_is_brought_to_its_end(self, rig: Rig, call: str) -> None:
        rig.start()
        rig.engine.images[OTHER_IMAGE] = FakeImage(exit_code=3)
        operation = rig.ask(OperationKind.PATCH, source=OperationSource.ADMIN_REST, image_ref=OTHER_IMAGE)
        died = False

        def die_in_the_revert() -> None:
            nonlocal died
            died = True
            rig.engine.fail_before(call, WorkerDiedError())

        rig.engine.on_call("remove", die_in_the_revert, skip=1)
        with pytest.raises(WorkerDiedError):
            runner.run(operation.pk)
        expire_lease(operation)

        assert died
        assert rig.do(operation).error_code == "container_start_failed"
        assert "exit code 3" in operation.error_message
        assert (record().status, record().current_image_ref) == (RuntimeStatus.RUNNING, IMAGE)
        assert list(rig.engine.containers) == [record().current_container_id]


class TestCleanup:
    def test_it_removes_the_container_and_keeps_the_state(self, rig: Rig) -> None:
        rig.start()
        rig.stop()

        assert rig.cleanup().outcome == Outcome.SUCCESS
        assert rig.engine.containers == {}
        assert (record().status, record().current_container_id) == (RuntimeStatus.REMOVED, None)
        assert (rig.state_root / "g1").is_dir()
        assert "container_disappeared" not in health_events()

    def test_a_running_game_is_a_conflict(self, rig: Rig) -> None:
        rig.start()

        assert rig.cleanup().error_code == "conflict"
        assert len(rig.engine.containers) == 1

    def test_the_second_one_is_a_replay(self, rig: Rig) -> None:
        rig.start()
        rig.stop()
        rig.cleanup()

        assert rig.cleanup().error_code == "replay_no_op"

    def test_a_game_that_never_ran_can_be_cleaned_up(self, rig: Rig) -> None:
        rig.start(no_start=True)

        assert rig.cleanup().outcome == Outcome.SUCCESS
        assert rig.engine.containers == {}

    def test_a_container_that_is_gone_already_is_no_trouble(self, rig: Rig) -> None:
        started = rig.start()
        rig.stop()
        rig.engine.remove_externally(started.container_id)

        assert rig.cleanup().outcome == Outcome.SUCCESS

    def test_a_removed_game_can_be_started_again(self, rig: Rig) -> None:
        rig.start()
        born = record().created_at
        rig.stop()
        rig.cleanup()

        assert rig.start().error_code == ""
        assert (record().status, record().removed_at, record().created_at) == (RuntimeStatus.RUNNING, None, born)

    def test_an_unknown_game_is_not_found(self, rig: Rig) -> None:
        assert rig.cleanup("unknown-game").error_code == "not_found"


def test_every_operation_waits_for_docker(rig: Rig) -> None:
    rig.start()
    rig.engine.disconnect()
    operation = rig.ask(OperationKind.STOP, reason="cancelled")
    rig.do(operation)
    rig.engine.reconnect()
    end_backoff(operation)

    assert rig.do(operation).state == OperationState.FINISHED
    assert Operation.objects.filter(outcome=Outcome.FAILURE).count() == 0
    assert len(results()) == 2

"""A reference that moves, vanishes or was never there: the game stays on the image that it ran. Docker is in memory."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from operations import runner
from operations.models import Operation
from operations.reconcile import survey
from operations.states import OperationKind, OperationSource, Outcome
from runtimes.container_spec import LABEL_FENCE, LABEL_IMAGE_REF, LABEL_OPERATION_ID
from runtimes.containers.base import ContainersUnavailableError, ImagePullFailedError
from runtimes.containers.fake.adapter import FakeImage
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus
from tests.conftest import RtmSettings
from tests.integration.harness import IMAGE, OTHER_IMAGE, Rig, WorkerDiedError, expire_lease, record

DYING = FakeImage(exit_code=3)


def untag(rig: Rig) -> FakeImage:
    """An operator removes the reference of the image that runs."""
    return rig.engine.untag(IMAGE)


def move(rig: Rig) -> FakeImage:
    """An operator moves the reference to another image."""
    image = rig.engine.untag(IMAGE)
    rig.engine.images[IMAGE] = FakeImage()
    return image


def withdraw(rig: Rig) -> FakeImage:
    """The image is neither on the host nor in the registry, and no container uses it."""
    return rig.engine.images.pop(IMAGE)


def running_image(rig: Rig) -> str:
    container = rig.container()
    assert container is not None
    assert container.is_alive
    assert container.image_id == record().image_id
    return container.image_id


class TestRestart:
    @pytest.mark.parametrize("policy", ["if_missing", "never"])
    @pytest.mark.parametrize(
        ("happens", "note"), [(untag, "names no image on this Docker host any more"), (move, "names another image now")]
    )
    def test_it_stays_on_the_image_that_ran_and_says_so(
        self, rig: Rig, rtm_settings: RtmSettings, happens: Callable[[Rig], FakeImage], note: str, policy: str
    ) -> None:
        rtm_settings(image_pull_policy=policy)
        rig.start()
        image = happens(rig)

        operation = rig.restart()

        assert (operation.outcome, operation.error_code) == (Outcome.SUCCESS, "")
        assert note in operation.error_message
        assert running_image(rig) == image.id
        container = rig.container()
        assert container is not None
        assert (container.image_ref, container.labels[LABEL_IMAGE_REF]) == (image.id, IMAGE)
        assert record().current_image_ref == IMAGE

    def test_a_stopped_game_stays_on_the_image_that_ran(self, rig: Rig) -> None:
        rig.start()
        rig.stop()
        image = move(rig)

        assert rig.restart().outcome == Outcome.SUCCESS
        assert running_image(rig) == image.id

    def test_a_reference_that_still_names_the_image_is_what_docker_is_given(self, rig: Rig) -> None:
        rig.start()

        operation = rig.restart()

        container = rig.container()
        assert container is not None
        assert (container.image_ref, operation.error_message) == (IMAGE, "")

    def test_an_image_that_is_gone_is_had_again_by_its_reference_and_that_is_said(self, rig: Rig) -> None:
        rig.start()
        old = withdraw(rig)
        rig.engine.registry[IMAGE] = FakeImage()

        operation = rig.restart()

        assert running_image(rig) == rig.engine.registry[IMAGE].id
        assert old.id[:19] in operation.error_message
        assert rig.engine.registry[IMAGE].id[:19] in operation.error_message

    def test_the_policy_always_pulls_and_takes_the_new_image(self, rig: Rig, rtm_settings: RtmSettings) -> None:
        rig.start()
        rtm_settings(image_pull_policy="always")
        rig.engine.registry[IMAGE] = FakeImage()

        operation = rig.restart()

        assert running_image(rig) == rig.engine.registry[IMAGE].id
        assert "was pulled and names image" in operation.error_message

    def test_the_policy_always_without_a_registry_disturbs_nothing(self, rig: Rig, rtm_settings: RtmSettings) -> None:
        rig.start()
        rtm_settings(image_pull_policy="always")
        before = (dict(rig.engine.containers), record())

        assert rig.restart().error_code == "image_pull_failed"
        assert (dict(rig.engine.containers), record()) == before

    def test_a_reference_that_moves_between_two_attempts_changes_nothing(self, rig: Rig) -> None:
        rig.start()
        rig.engine.fail_after("start", WorkerDiedError())
        rig.engine.fail_after("create", WorkerDiedError())
        operation = rig.ask(OperationKind.RESTART, source=OperationSource.ADMIN_REST)
        for _attempt in range(2):
            with pytest.raises(WorkerDiedError):
                runner.run(operation.pk)
            expire_lease(operation)
        image = move(rig)

        assert rig.do(operation).outcome == Outcome.SUCCESS
        assert running_image(rig) == image.id

    def test_a_failure_after_the_old_container_is_gone_is_on_record(self, rig: Rig) -> None:
        rig.start()
        rig.engine.fail_after("remove", WorkerDiedError())
        operation = rig.ask(OperationKind.RESTART, source=OperationSource.ADMIN_REST)
        with pytest.raises(WorkerDiedError):
            runner.run(operation.pk)
        expire_lease(operation)
        withdraw(rig)

        assert rig.do(operation).error_code == "image_pull_failed"
        assert record().status == RuntimeStatus.REMOVED


class TestPatch:
    @pytest.mark.parametrize("policy", ["if_missing", "never", "always"])
    @pytest.mark.parametrize("happens", [untag, move])
    def test_the_revert_uses_the_image_that_ran(
        self, rig: Rig, rtm_settings: RtmSettings, happens: Callable[[Rig], FakeImage], policy: str
    ) -> None:
        rig.start()
        rtm_settings(image_pull_policy=policy)
        rig.engine.images[OTHER_IMAGE] = rig.engine.registry[OTHER_IMAGE] = DYING
        image = happens(rig)

        operation = rig.patch(OTHER_IMAGE)

        assert operation.error_code == "container_start_failed"
        assert f"{IMAGE} ({image.id[:19]}) was put back" in operation.error_message
        assert running_image(rig) == image.id
        assert (record().status, record().current_image_ref) == (RuntimeStatus.RUNNING, IMAGE)

    @pytest.mark.parametrize("policy", ["if_missing", "never", "always"])
    def test_without_an_image_to_revert_to_it_is_refused_and_nothing_is_disturbed(
        self, rig: Rig, rtm_settings: RtmSettings, policy: str
    ) -> None:
        rig.start()
        rtm_settings(image_pull_policy=policy)
        withdraw(rig)
        rig.engine.registry[OTHER_IMAGE] = rig.engine.images[OTHER_IMAGE]
        before = (dict(rig.engine.containers), record())

        operation = rig.patch(OTHER_IMAGE)

        assert operation.error_code == "image_pull_failed"
        assert "was not disturbed" in operation.error_message
        assert (dict(rig.engine.containers), record()) == before

    def test_an_old_image_that_is_gone_is_fetched_before_the_game_is_disturbed(self, rig: Rig) -> None:
        rig.start()
        rig.engine.registry[IMAGE] = withdraw(rig)

        operation = rig.patch(OTHER_IMAGE)

        names = [step["name"] for step in operation.steps]
        assert operation.outcome == Outcome.SUCCESS
        assert names.index("pull") < names.index("stop")
        assert IMAGE in rig.engine.images

    def test_an_image_that_goes_after_the_game_was_disturbed_stops_no_patch_that_works(self, rig: Rig) -> None:
        rig.start()
        rig.engine.fail_after("remove", WorkerDiedError())
        operation = rig.ask(OperationKind.PATCH, source=OperationSource.ADMIN_REST, image_ref=OTHER_IMAGE)
        with pytest.raises(WorkerDiedError):
            runner.run(operation.pk)
        expire_lease(operation)
        withdraw(rig)

        assert rig.do(operation).outcome == Outcome.SUCCESS
        assert record().current_image_ref == OTHER_IMAGE

    @pytest.mark.parametrize("call", ["find_image", "create", "start", "wait_until_exited"])
    @pytest.mark.parametrize("moment", ["fail_before", "fail_after"])
    def test_a_worker_that_dies_in_the_revert_continues_it_by_the_image_id(
        self, rig: Rig, call: str, moment: str
    ) -> None:
        rig.start()
        image = move(rig)
        rig.engine.images[OTHER_IMAGE] = DYING
        operation = rig.ask(OperationKind.PATCH, source=OperationSource.ADMIN_REST, image_ref=OTHER_IMAGE)
        plan_failure: Callable[[], None] = lambda: getattr(rig.engine, moment)(call, WorkerDiedError())  # noqa: E731
        rig.engine.on_call("remove", plan_failure, skip=1)
        with pytest.raises(WorkerDiedError):
            runner.run(operation.pk)
        expire_lease(operation)

        assert rig.do(operation).error_code == "container_start_failed"
        assert running_image(rig) == image.id
        assert len(rig.engine.containers) == 1

    def test_words_of_docker_with_braces_are_shown_as_they_are(self, rig: Rig) -> None:
        rig.start()
        rig.engine.images[OTHER_IMAGE] = DYING
        rig.engine.on_call(
            "remove", lambda: rig.engine.fail_before("find_image", ImagePullFailedError("{weird}")), skip=1
        )

        assert "{weird}" in rig.patch(OTHER_IMAGE).error_message


class TestAdoptedByImageId:
    """A container that an operator started by an image id, or the beginning of one."""

    @pytest.fixture(params=["whole id", "short id", "no tag"])
    def image_ref(self, request: pytest.FixtureRequest, rig: Rig) -> str:
        rig.start()
        own = next(iter(rig.engine.containers.values()))
        image = untag(rig)
        words = {"whole id": image.id, "short id": image.id[7:19], "no tag": "galaxy-engine"}[request.param]
        made_by_us = {LABEL_OPERATION_ID, LABEL_FENCE, LABEL_IMAGE_REF}
        labels = {name: own.labels[name] for name in own.labels if name not in made_by_us}
        rig.engine.containers[own.id] = replace(own, labels=labels, image_ref=words)
        Runtime.objects.all().delete()
        survey.reconcile_all()
        rig.do(Operation.objects.get(op_kind=OperationKind.RECONCILE_ADOPT))
        return words if request.param == "no tag" else image.id

    def test_the_record_says_what_runs(self, rig: Rig, image_ref: str) -> None:
        assert record().current_image_ref == image_ref
        assert running_image(rig) == record().image_id

    @pytest.mark.parametrize("policy", ["if_missing", "never"])
    @pytest.mark.parametrize("stopped_first", [False, True], ids=["running", "stopped"])
    def test_it_can_be_restarted(
        self, rig: Rig, rtm_settings: RtmSettings, image_ref: str, policy: str, *, stopped_first: bool
    ) -> None:
        rtm_settings(image_pull_policy=policy)
        image_id = record().image_id
        if stopped_first:
            rig.stop()

        assert rig.restart().outcome == Outcome.SUCCESS
        assert running_image(rig) == image_id
        container = rig.container()
        assert container is not None
        assert container.labels[LABEL_IMAGE_REF] == record().current_image_ref == image_ref

    def test_a_patch_is_refused_and_disturbs_nothing(self, rig: Rig, image_ref: str) -> None:
        del image_ref
        before = (dict(rig.engine.containers), record())

        assert rig.patch(OTHER_IMAGE).error_code == "image_ref_not_semver"
        assert (dict(rig.engine.containers), record()) == before

    def test_it_can_be_stopped_cleaned_up_and_started(self, rig: Rig, image_ref: str) -> None:
        assert rig.start(image_ref=image_ref).error_code == "replay_no_op"
        assert rig.stop().outcome == Outcome.SUCCESS
        assert rig.cleanup().outcome == Outcome.SUCCESS
        assert rig.start(image_ref=OTHER_IMAGE).outcome == Outcome.SUCCESS


def test_an_id_on_record_is_not_pulled_under_the_policy_always(rig: Rig, rtm_settings: RtmSettings) -> None:
    rig.start()
    Runtime.objects.update(current_image_ref=record().image_id)
    rtm_settings(image_pull_policy="always")

    assert rig.restart().outcome == Outcome.SUCCESS
    assert rig.engine.calls["pull"] == 0


def test_an_engine_that_is_away_decides_nothing(rig: Rig) -> None:
    rig.start()
    rig.engine.on_call("network_exists", lambda: rig.engine.fail_before("find_image", AWAY))
    operation = rig.ask(OperationKind.RESTART)

    assert rig.do(operation).is_open
    assert record().status == RuntimeStatus.RUNNING


AWAY = ContainersUnavailableError("Docker is away")

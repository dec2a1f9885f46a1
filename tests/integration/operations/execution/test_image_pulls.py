"""One image is pulled once for all who want it, and pulls leave slots for quick work.

What must happen during a pull is done by a hook of the engine in memory, inside the call. The policy is ``always``
where another game wants the same image meanwhile: by then this engine holds it already.
"""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from pytest_django import Settings

from operations import runner
from operations.models import ImagePull, Operation
from operations.states import OperationKind, OperationSource, OperationState, Outcome, Topic
from runtimes.containers.base import ContainersUnavailableError, ImagePullFailedError
from runtimes.containers.fake.adapter import FakeImage
from runtimes.models import Runtime
from tests.conftest import RtmSettings
from tests.integration.harness import (
    IMAGE,
    OTHER_IMAGE,
    Rig,
    WorkerDiedError,
    end_backoff,
    expire_lease,
    published,
    results,
)
from tests.integration.notification_harness import QUEUED, QueuedNotifier, follow_all_notifications

AWAY = ContainersUnavailableError("Docker is away")
REFUSED = ImagePullFailedError("the registry refused it")


@pytest.fixture(autouse=True)
def _registry_and_queued_notifications(rig: Rig, settings: Settings, rtm_settings: RtmSettings) -> Iterator[None]:
    rig.engine.registry.update(rig.engine.images)
    rtm_settings(image_pull_policy="always")
    settings.RTM_NOTIFIER = QUEUED
    QueuedNotifier.queue.clear()
    yield
    QueuedNotifier.queue.clear()


def let_two_want_it_at_once(rig: Rig, *, second_image: str = IMAGE) -> tuple[Operation, Operation]:
    """Accept two starts; the second is tried while the first one pulls. The first is still to be run."""
    first, second = rig.ask_start("g1"), rig.ask_start("g2", image_ref=second_image)
    QueuedNotifier.queue.clear()
    rig.engine.on_call("pull", lambda: runner.run(second.pk))
    return first, second


def fresh(operation: Operation) -> Operation:
    return Operation.objects.get(pk=operation.pk)


class TestOneImage:
    def test_who_wants_an_image_that_is_being_pulled_gives_its_slot_back(self, rig: Rig) -> None:
        first, second = let_two_want_it_at_once(rig)
        seen: list[Operation] = []
        rig.engine.on_call("pull", lambda: seen.append(fresh(second)))

        runner.run(first.pk)

        (waiting,) = seen
        assert (waiting.state, waiting.waiting_for_image) == (OperationState.ACCEPTED, IMAGE)
        assert waiting.error_message == f"image {IMAGE} is being pulled by operation {first.pk}"
        assert waiting.not_before is not None

    def test_waiting_counts_neither_as_an_attempt_nor_as_a_deferral_and_leaves_no_steps(self, rig: Rig) -> None:
        first, second = let_two_want_it_at_once(rig)
        seen: list[Operation] = []
        rig.engine.on_call("pull", lambda: seen.append(fresh(second)))

        runner.run(first.pk)

        assert [(one.attempt, one.retries, one.steps) for one in seen] == [(0, 0, [])]

    def test_a_waiting_operation_is_notified_at_the_end_and_does_not_pull_again(self, rig: Rig) -> None:
        first, second = let_two_want_it_at_once(rig)

        runner.run(first.pk)

        assert list(QueuedNotifier.queue) == [second.pk]
        follow_all_notifications()
        assert fresh(second).outcome == Outcome.SUCCESS
        assert rig.engine.calls["pull"] == 1
        assert "pull" not in [step["name"] for step in fresh(second).steps]

    def test_a_pull_that_failed_has_failed_for_all_who_waited_for_it(self, rig: Rig) -> None:
        first, second = let_two_want_it_at_once(rig)
        rig.engine.fail_after("pull", REFUSED)

        runner.run(first.pk)
        follow_all_notifications()

        assert [one["error_code"] for one in results()] == ["image_pull_failed", "image_pull_failed"]
        assert fresh(second).error_message == REFUSED.message
        assert rig.engine.calls["pull"] == 1
        assert len(published(Topic.NOTIFICATION_INTENTS)) == 2

    def test_a_pull_with_unknown_outcome_is_repeated_by_a_waiting_operation(self, rig: Rig) -> None:
        first, second = let_two_want_it_at_once(rig)
        rig.engine.fail_after("pull", AWAY)

        runner.run(first.pk)
        follow_all_notifications()

        assert (fresh(first).state, fresh(first).retries) == (OperationState.ACCEPTED, 1)
        assert fresh(second).outcome == Outcome.SUCCESS
        assert rig.engine.calls["pull"] == 2

    def test_a_dead_puller_blocks_others_no_longer_than_its_lease(self, rig: Rig) -> None:
        first, second = let_two_want_it_at_once(rig)
        rig.engine.fail_after("pull", WorkerDiedError())
        with pytest.raises(WorkerDiedError):
            runner.run(first.pk)
        end_backoff(second)
        assert rig.do(second).state == OperationState.ACCEPTED

        expire_lease(first)
        end_backoff(second)

        assert rig.do(second).outcome == Outcome.SUCCESS
        assert rig.do(first).outcome == Outcome.SUCCESS
        assert rig.engine.calls["pull"] == 2

    def test_a_puller_that_lost_its_lease_says_nothing_of_its_pull(self, rig: Rig) -> None:
        first, second = let_two_want_it_at_once(rig)
        rig.engine.on_call("pull", lambda: expire_lease(first))
        rig.engine.on_call("pull", lambda: runner.run(first.pk), skip=0)

        runner.run(first.pk)
        follow_all_notifications()

        assert fresh(first).outcome == Outcome.SUCCESS
        assert fresh(second).outcome == Outcome.SUCCESS
        assert [one["error_code"] for one in results()] == ["", ""]

    def test_a_game_asked_for_after_the_pull_began_gets_what_the_registry_has_now(self, rig: Rig) -> None:
        newer = FakeImage()
        first = rig.ask_start("g1")
        late: list[Operation] = []

        def push_and_ask() -> None:
            rig.engine.registry[IMAGE] = newer
            late.append(rig.ask_start("g2"))
            runner.run(late[0].pk)

        rig.engine.on_call("pull", push_and_ask)

        runner.run(first.pk)
        follow_all_notifications()

        assert Runtime.objects.get(pk="g2").image_id == newer.id

    def test_an_earlier_failure_does_not_fail_a_later_operation(self, rig: Rig) -> None:
        rig.engine.fail_before("pull", REFUSED)
        first, later = rig.ask_start("g1"), rig.ask_start("g2")

        assert rig.do(first).error_code == "image_pull_failed"
        assert rig.do(later).outcome == Outcome.SUCCESS

    def test_an_image_removed_again_by_hand_is_pulled_again(self, rig: Rig, rtm_settings: RtmSettings) -> None:
        rtm_settings(image_pull_policy="if_missing")
        rig.engine.images.clear()
        first, second = rig.ask_start("g1"), rig.ask_start("g2")
        Operation.objects.filter(pk=second.pk).update(started_at=Now() - timedelta(hours=1))
        rig.do(first)
        rig.engine.images.clear()

        assert rig.do(second).outcome == Outcome.SUCCESS
        assert rig.engine.calls["pull"] == 2

    def test_a_restart_and_a_patch_wait_with_their_game_running(self, rig: Rig) -> None:
        rig.do(rig.ask_start("g1"))
        running = rig.container("g1")
        patch = rig.ask(OperationKind.PATCH, "g1", source=OperationSource.ADMIN_REST, image_ref=OTHER_IMAGE)
        puller = rig.ask_start("g2", image_ref=OTHER_IMAGE)
        during: list[object] = []
        rig.engine.on_call("pull", lambda: runner.run(patch.pk))
        rig.engine.on_call("pull", lambda: during.append(rig.container("g1")))

        runner.run(puller.pk)

        assert during == [running]
        follow_all_notifications()
        assert fresh(patch).outcome == Outcome.SUCCESS
        assert Runtime.objects.get(pk="g1").current_image_ref == OTHER_IMAGE


class TestTheDeadline:
    def test_a_job_that_waited_too_long_for_a_pull_fails_with_one_honest_result(
        self, rig: Rig, rtm_settings: RtmSettings
    ) -> None:
        first, second = let_two_want_it_at_once(rig)
        Operation.objects.filter(pk=second.pk).update(accepted_at=Now() - 2 * rtm_settings().job_deadline)

        runner.run(first.pk)

        assert fresh(second).error_code == "image_pull_failed"
        assert "deadline" in fresh(second).error_message
        assert f"is being pulled by operation {first.pk}" in fresh(second).error_message
        assert sorted(one["error_code"] for one in results()) == ["", "image_pull_failed"]

    def test_a_rest_caller_that_waits_for_a_pull_gets_no_docker_error(self, rig: Rig) -> None:
        first = rig.ask_start("g1")
        second = rig.ask_start("g2", source=OperationSource.ADMIN_REST)
        rig.engine.on_call("pull", lambda: runner.run(second.pk))

        runner.run(first.pk)
        follow_all_notifications()

        assert fresh(second).outcome == Outcome.SUCCESS


class TestPlaces:
    def test_half_of_the_slots_are_left_for_what_needs_no_pull(self, rig: Rig, rtm_settings: RtmSettings) -> None:
        rtm_settings(worker_concurrency=2)
        first, second = let_two_want_it_at_once(rig, second_image=OTHER_IMAGE)
        seen: list[Operation] = []
        rig.engine.on_call("pull", lambda: seen.append(fresh(second)))

        runner.run(first.pk)

        assert [(one.state, one.waiting_for_image, one.attempt) for one in seen] == [
            (OperationState.ACCEPTED, OTHER_IMAGE, 0)
        ]
        assert "waits for a pull slot" in seen[0].error_message

    def test_a_place_that_becomes_free_is_given_to_the_oldest_who_waits_for_one(
        self, rig: Rig, rtm_settings: RtmSettings
    ) -> None:
        rtm_settings(worker_concurrency=2)
        first, second = let_two_want_it_at_once(rig, second_image=OTHER_IMAGE)
        third = rig.ask_start("g3", image_ref=OTHER_IMAGE)
        QueuedNotifier.queue.clear()
        rig.engine.on_call("pull", lambda: runner.run(third.pk))

        runner.run(first.pk)

        assert list(QueuedNotifier.queue) == [second.pk]
        follow_all_notifications()
        assert [fresh(one).outcome for one in (first, second, third)] == [Outcome.SUCCESS] * 3

    def test_with_more_slots_two_images_are_pulled_at_once(self, rig: Rig, rtm_settings: RtmSettings) -> None:
        rtm_settings(worker_concurrency=4)
        first, second = let_two_want_it_at_once(rig, second_image=OTHER_IMAGE)

        runner.run(first.pk)

        assert fresh(second).outcome == Outcome.SUCCESS
        assert ImagePull.objects.filter(outcome=Outcome.SUCCESS).count() == 2

    def test_a_worker_of_one_slot_pulls_all_the_same(self, rig: Rig, rtm_settings: RtmSettings) -> None:
        rtm_settings(worker_concurrency=1)

        assert rig.start().outcome == Outcome.SUCCESS

    def test_a_place_is_free_again_after_every_kind_of_end(self, rig: Rig, rtm_settings: RtmSettings) -> None:
        rtm_settings(worker_concurrency=1)
        for end in (REFUSED, AWAY, ZeroDivisionError()):
            rig.engine.fail_after("pull", end)
            rig.start(f"g-{type(end).__name__.lower()}")

        assert rig.start().outcome == Outcome.SUCCESS

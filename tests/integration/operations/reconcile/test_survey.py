"""From difference to repair, with the fake Docker."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from operations.messages import epoch_ms
from operations.models import Operation
from operations.reconcile import retention, survey
from operations.states import OperationKind, OperationSource, Outcome, Topic
from runtimes.container_spec import LABEL_STACK, build_spec, current_policy
from runtimes.containers.base import ContainersUnavailableError
from runtimes.containers.fake.adapter import FakeImage
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus
from tests.integration.harness import IMAGE, Rig, end_backoff, health_events, published, reconcile, record


def hand_made(rig: Rig, game_id: str = "g9", *, stack: str = "default", run: bool = True) -> str:
    """Create a container by hand with the labels of Runtime Manager; return its id."""
    spec = build_spec(
        current_policy(),
        game_id=game_id,
        image_ref=IMAGE,
        limits=current_policy().default_limits,
        operation_id="",
        fence=0,
        started_at_ms=0,
    )
    container_id = rig.engine.add(spec, image=rig.engine.images[IMAGE])
    rig.engine.containers[container_id].labels[LABEL_STACK] = stack  # type: ignore[index]
    if run:
        rig.engine.start(rig.engine.containers[container_id])
    return container_id


class TestAdopt:
    def test_a_hand_made_container_is_adopted_as_running(self, rig: Rig) -> None:
        container_id = hand_made(rig)

        (operation,) = reconcile()

        assert (operation.op_kind, operation.op_source) == (
            OperationKind.RECONCILE_ADOPT,
            OperationSource.AUTO_RECONCILE,
        )
        assert operation.outcome == Outcome.SUCCESS
        assert (record("g9").status, record("g9").current_container_id) == (RuntimeStatus.RUNNING, container_id)
        assert record("g9").current_image_ref == IMAGE

    def test_an_adopted_game_can_be_stopped_and_cleaned_up(self, rig: Rig) -> None:
        hand_made(rig)
        reconcile()

        assert rig.stop("g9").outcome == Outcome.SUCCESS
        assert rig.cleanup("g9").outcome == Outcome.SUCCESS
        assert rig.engine.containers == {}

    def test_a_container_of_another_stack_is_ignored(self, rig: Rig) -> None:
        hand_made(rig, stack="another")

        assert reconcile() == []

    def test_the_note_says_that_the_image_has_changed_since(self, rig: Rig) -> None:
        hand_made(rig)
        rig.engine.images[IMAGE] = FakeImage()

        (operation,) = reconcile()

        assert operation.outcome == Outcome.SUCCESS
        assert f"which is not what {IMAGE} is now" in operation.error_message

    def test_a_stopped_game_that_is_started_by_hand_is_recorded_as_running(self, rig: Rig) -> None:
        started = rig.start()
        rig.stop()
        rig.engine.start(rig.engine.containers[started.container_id])

        (operation,) = reconcile()

        assert operation.op_kind == OperationKind.RECONCILE_ADOPT
        assert (record().status, record().stopped_at) == (RuntimeStatus.RUNNING, None)

    def test_an_adoption_never_overwrites_a_newer_record(self, rig: Rig) -> None:
        hand_made(rig, "g1")
        survey.reconcile_all()
        (operation,) = Operation.objects.all()
        Runtime.objects.create(
            game_id="g1",
            status="stopped",
            current_container_id="newer",
            fence=10**9,
            last_op_at=Now(),
            created_at=Now(),
        )

        assert rig.do(operation).error_code == "replay_no_op"
        assert record().current_container_id == "newer"


class TestDispose:
    def test_a_container_that_was_removed_externally_is_reported_once(self, rig: Rig) -> None:
        rig.engine.remove_externally(rig.start().container_id)

        (operation,) = reconcile()

        assert (operation.op_kind, operation.outcome) == (OperationKind.RECONCILE_DISPOSE, Outcome.SUCCESS)
        assert (record().status, record().current_container_id) == (RuntimeStatus.REMOVED, None)
        assert health_events() == ["container_started", "container_disappeared"]
        assert reconcile() == []

    def test_the_loss_of_a_stopped_games_container_is_no_event(self, rig: Rig) -> None:
        started = rig.start()
        rig.stop()
        rig.engine.remove_externally(started.container_id)

        reconcile()

        assert record().status == RuntimeStatus.REMOVED
        assert health_events() == ["container_started"]

    def test_a_container_that_is_back_before_the_repair_is_kept(self, rig: Rig) -> None:
        started = rig.start()
        container = rig.engine.containers.pop(started.container_id)
        survey.reconcile_all()
        rig.engine.containers[started.container_id] = container

        assert rig.do(Operation.objects.get(op_kind=OperationKind.RECONCILE_DISPOSE)).error_code == "replay_no_op"
        assert record().status == RuntimeStatus.RUNNING

    def left_by(self, rig: Rig, operation: Operation, *, job_key: str = "", state: str = "running") -> str:
        """Create a container that this operation recorded and that names it; return the container id."""
        spec = build_spec(
            current_policy(),
            game_id="g1",
            image_ref=IMAGE,
            limits=current_policy().default_limits,
            operation_id=operation.pk,
            job_key=job_key or operation.job_key,
            fence=operation.fence or 0,
            started_at_ms=epoch_ms(operation.started_at or operation.accepted_at),
        )
        container_id = rig.engine.add(spec, image=rig.engine.images[IMAGE])
        if state == "running":
            rig.engine.start(rig.engine.containers[container_id])
        Operation.objects.filter(pk=operation.pk).update(container_id=container_id)
        return container_id

    def test_the_container_that_a_failed_start_left_behind_is_stopped_and_removed(self, rig: Rig) -> None:
        self.left_by(rig, rig.start(image_ref="galaxy-engine:9.9.9"))

        (operation,) = reconcile()

        assert (operation.outcome, operation.error_code) == (Outcome.SUCCESS, "")
        assert [step["name"] for step in operation.steps] == ["observe", "stop", "exit_report", "remove"]
        assert rig.engine.containers == {}
        assert not Runtime.objects.exists()

    def test_a_removal_whose_response_got_lost_is_a_success_and_no_no_op(self, rig: Rig) -> None:
        self.left_by(rig, rig.start(image_ref="galaxy-engine:9.9.9"))
        rig.engine.fail_after("remove", ContainersUnavailableError("Docker is away"))
        (operation,) = reconcile()
        end_backoff(operation)

        assert rig.do(operation).outcome == Outcome.SUCCESS
        assert (operation.error_code, rig.engine.containers) == ("", {})

    def test_a_copy_with_the_labels_of_a_failed_start_is_adopted(self, rig: Rig) -> None:
        failed = rig.start(image_ref="galaxy-engine:9.9.9")
        container_id = self.left_by(rig, failed)
        Operation.objects.filter(pk=failed.pk).update(container_id="of-the-original")

        (operation,) = reconcile()

        assert operation.op_kind == OperationKind.RECONCILE_ADOPT
        assert record().current_container_id == container_id

    def test_a_repair_checks_again_before_it_removes_a_leftover(self, rig: Rig) -> None:
        failed = rig.start(image_ref="galaxy-engine:9.9.9")
        self.left_by(rig, failed)
        survey.reconcile_all()
        Operation.objects.filter(pk=failed.pk).update(container_id="of-the-original")

        assert rig.do(Operation.objects.get(op_kind=OperationKind.RECONCILE_DISPOSE)).error_code == "replay_no_op"
        assert len(rig.engine.containers) == 1

    def test_a_game_of_an_earlier_database_is_adopted_although_its_operation_id_is_in_use_again(self, rig: Rig) -> None:
        failed = rig.start(image_ref="galaxy-engine:9.9.9")
        container_id = self.left_by(rig, failed, job_key="of an earlier database")
        Operation.objects.filter(pk=failed.pk).update(container_id="")

        (operation,) = reconcile()

        assert operation.op_kind == OperationKind.RECONCILE_ADOPT
        assert record().current_container_id == container_id


class TestExit:
    @pytest.mark.parametrize(
        ("oom", "events"),
        [(False, ["container_exited"]), (True, ["container_oom", "container_exited"])],
        ids=["exit", "oom"],
    )
    def test_an_exit_of_the_engine_is_recorded_and_reported(self, rig: Rig, *, oom: bool, events: list[str]) -> None:
        started = rig.start()
        rig.engine.exit(started.container_id, exit_code=137, oom_killed=oom)

        (operation,) = reconcile()

        assert (operation.op_kind, operation.outcome) == (OperationKind.RECONCILE_EXIT, Outcome.SUCCESS)
        assert (record().status, record().current_container_id) == (RuntimeStatus.STOPPED, started.container_id)
        assert health_events()[1:] == events
        details = published(Topic.HEALTH_EVENTS)[-1]["details"]
        assert details == f'{{"exit_code":137,"oom":{str(oom).lower()}}}'

    def test_each_exit_of_one_container_is_reported(self, rig: Rig) -> None:
        started = rig.start()
        rig.engine.exit(started.container_id, exit_code=1)
        reconcile()
        rig.engine.start(rig.engine.containers[started.container_id])
        reconcile()
        rig.engine.exit(started.container_id, exit_code=2)
        reconcile()

        assert health_events() == ["container_started", "container_exited", "container_exited"]

    def test_a_requested_stop_is_no_exit(self, rig: Rig) -> None:
        rig.start()
        rig.stop()

        assert reconcile() == []
        assert health_events() == ["container_started"]


class TestCaution:
    def test_an_unavailable_docker_changes_no_record(self, rig: Rig) -> None:
        rig.start()
        rig.engine.disconnect()

        assert reconcile() == []
        assert record().status == RuntimeStatus.RUNNING

    def test_a_game_with_an_open_operation_is_not_compared(self, rig: Rig) -> None:
        rig.engine.remove_externally(rig.start().container_id)
        rig.ask_stop()

        calls = rig.engine.calls["list_owned"]
        assert survey.reconcile_games(["g1"]) == {"g1"}
        assert not Operation.objects.filter(op_source=OperationSource.AUTO_RECONCILE).exists()
        assert rig.engine.calls["list_owned"] == calls

    def test_of_several_games_only_those_that_are_not_busy_are_compared(self, rig: Rig) -> None:
        rig.engine.remove_externally(rig.start("g1").container_id)
        rig.engine.remove_externally(rig.start("g2").container_id)
        rig.ask_stop("g1")

        assert survey.reconcile_games(["g1", "g2"]) == {"g1"}
        repairs = Operation.objects.filter(op_source=OperationSource.AUTO_RECONCILE).values_list("game_id", flat=True)
        assert list(repairs) == ["g2"]

    def test_two_passes_request_one_repair(self, rig: Rig) -> None:
        rig.engine.remove_externally(rig.start().container_id)

        survey.reconcile_all()
        survey.reconcile_all()

        assert Operation.objects.filter(op_source=OperationSource.AUTO_RECONCILE).count() == 1

    def test_a_record_that_changes_during_a_pass_is_compared_in_the_next_one(self, rig: Rig) -> None:
        started = rig.start()
        rig.engine.remove_externally(started.container_id)

        def change() -> None:
            Runtime.objects.update(fence=10**9)

        rig.engine.on_call("list_owned", change)

        assert survey.survey() == ([], {"g1"})
        assert [finding.op_kind for finding in survey.survey()[0]] == [OperationKind.RECONCILE_DISPOSE]

    def test_a_game_whose_record_changes_during_a_pass_is_compared_again_and_not_repaired(self, rig: Rig) -> None:
        rig.engine.remove_externally(rig.start("g1").container_id)
        rig.engine.remove_externally(rig.start("g2").container_id)

        def change() -> None:
            Runtime.objects.filter(pk="g1").update(fence=10**9)

        rig.engine.on_call("list_owned", change)

        assert survey.reconcile_games(["g1", "g2"]) == {"g1"}
        repairs = Operation.objects.filter(op_source=OperationSource.AUTO_RECONCILE).values_list("game_id", flat=True)
        assert list(repairs) == ["g2"]

    def test_a_game_that_gets_its_record_during_a_pass_is_not_compared(self, rig: Rig) -> None:
        rig.engine.remove_externally(rig.start().container_id)
        runtime = Runtime.objects.get()
        Runtime.objects.all().delete()
        rig.engine.on_call("list_owned", runtime.save)

        assert survey.survey() == ([], {"g1"})

    def test_only_the_named_games_are_compared(self, rig: Rig) -> None:
        rig.engine.remove_externally(rig.start("g1").container_id)
        rig.engine.remove_externally(rig.start("g2").container_id)

        assert survey.reconcile_games(["g2"]) == set()
        assert list(
            Operation.objects.filter(op_source=OperationSource.AUTO_RECONCILE).values_list("game_id", flat=True)
        ) == ["g2"]


class TestCommand:
    def test_a_dry_run_prints_the_plan_and_does_nothing(self, rig: Rig) -> None:
        rig.engine.remove_externally(rig.start().container_id)
        printed = StringIO()

        call_command("reconcile", "--dry-run", stdout=printed)

        assert "g1: reconcile_dispose: recorded, but its container is gone" in printed.getvalue()
        assert not Operation.objects.filter(op_source=OperationSource.AUTO_RECONCILE).exists()

    def test_the_command_says_that_records_and_docker_agree(self, rig: Rig) -> None:
        rig.start()
        printed = StringIO()

        call_command("reconcile", stdout=printed)

        assert "records and Docker agree" in printed.getvalue()

    def test_an_unavailable_docker_is_an_error_and_not_an_empty_plan(self, rig: Rig) -> None:
        rig.engine.disconnect()

        with pytest.raises(CommandError, match="there is no plan"):
            call_command("reconcile", "--dry-run")

    def test_the_survey_raises_if_docker_is_unavailable(self, rig: Rig) -> None:
        rig.engine.disconnect()

        with pytest.raises(ContainersUnavailableError):
            survey.survey()


class TestRetention:
    def age(self, days: int) -> None:
        Runtime.objects.update(stopped_at=Now() - timedelta(days=days), last_op_at=Now() - timedelta(days=days))

    def test_a_container_stopped_long_ago_is_cleaned_up(self, rig: Rig) -> None:
        rig.start()
        rig.stop()
        self.age(31)

        assert retention.clean_up_expired() == 1
        operation = rig.do(Operation.objects.get(op_source=OperationSource.AUTO_TTL))

        assert (operation.op_kind, operation.outcome) == (OperationKind.CLEANUP_CONTAINER, Outcome.SUCCESS)
        assert record().status == RuntimeStatus.REMOVED
        assert (rig.state_root / "g1").is_dir()

    def test_a_container_stopped_recently_is_kept(self, rig: Rig) -> None:
        rig.start()
        rig.stop()
        self.age(29)

        assert retention.clean_up_expired() == 0

    def test_a_running_container_is_kept_at_any_age(self, rig: Rig) -> None:
        rig.start()
        Runtime.objects.update(last_op_at=Now() - timedelta(days=400))

        assert retention.clean_up_expired() == 0

    def test_a_container_that_never_ran_is_cleaned_up_too(self, rig: Rig) -> None:
        rig.start(no_start=True)
        Runtime.objects.update(last_op_at=Now() - timedelta(days=31))

        assert retention.clean_up_expired() == 1

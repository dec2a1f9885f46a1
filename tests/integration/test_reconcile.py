"""From drift to repair: the whole way, with Docker in memory."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from operations import reconciler, retention, runner
from operations.events import epoch_ms
from operations.models import Operation
from operations.states import OpKind, OpSource, Outcome, Topic
from runtimes.containers.base import ContainersUnavailableError
from runtimes.containers.fake import FakeImage
from runtimes.models import Runtime
from runtimes.policy import current_policy
from runtimes.specs import LABEL_STACK, build_spec
from runtimes.states import RuntimeStatus
from tests.integration.rigs import IMAGE, Rig, end_backoff, health_events, published, record


def hand_made(rig: Rig, game_id: str = "g9", *, stack: str = "default", run: bool = True) -> str:
    """A container made by hand with our labels; returns its id."""
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


def reconcile() -> list[Operation]:
    """One round: look, ask, and let a worker do what was asked for."""
    before = set(Operation.objects.values_list("pk", flat=True))
    reconciler.reconcile_all()
    asked = list(Operation.objects.exclude(pk__in=before).order_by("id"))
    for operation in asked:
        runner.run(operation.pk)
        operation.refresh_from_db()
    return asked


class TestAdopt:
    def test_a_hand_made_container_is_adopted_as_running(self, rig: Rig) -> None:
        container_id = hand_made(rig)

        (operation,) = reconcile()

        assert (operation.op_kind, operation.op_source) == (OpKind.RECONCILE_ADOPT, OpSource.AUTO_RECONCILE)
        assert operation.outcome == Outcome.SUCCESS
        assert (record("g9").status, record("g9").current_container_id) == (RuntimeStatus.RUNNING, container_id)
        assert record("g9").current_image_ref == IMAGE

    def test_the_adopted_game_lives_on_like_any_other(self, rig: Rig) -> None:
        hand_made(rig)
        reconcile()

        assert rig.stop("g9").outcome == Outcome.SUCCESS
        assert rig.cleanup("g9").outcome == Outcome.SUCCESS
        assert rig.engine.containers == {}

    def test_a_container_of_another_stack_is_never_seen(self, rig: Rig) -> None:
        hand_made(rig, stack="another")

        assert reconcile() == []

    def test_an_image_that_has_changed_since_is_told(self, rig: Rig) -> None:
        hand_made(rig)
        rig.engine.images[IMAGE] = FakeImage()

        (operation,) = reconcile()

        assert operation.outcome == Outcome.SUCCESS
        assert f"which is not what {IMAGE} is now" in operation.error_message

    def test_a_stopped_game_started_by_hand_is_running_again(self, rig: Rig) -> None:
        started = rig.start()
        rig.stop()
        rig.engine.start(rig.engine.containers[started.container_id])

        (operation,) = reconcile()

        assert operation.op_kind == OpKind.RECONCILE_ADOPT
        assert (record().status, record().stopped_at) == (RuntimeStatus.RUNNING, None)

    def test_it_never_overwrites_a_newer_record(self, rig: Rig) -> None:
        hand_made(rig, "g1")
        reconciler.reconcile_all()
        (asked,) = Operation.objects.all()
        Runtime.objects.create(
            game_id="g1",
            status="stopped",
            current_container_id="newer",
            fence=10**9,
            last_op_at=Now(),
            created_at=Now(),
        )

        assert rig.do(asked).error_code == "replay_no_op"
        assert record().current_container_id == "newer"


class TestDispose:
    def test_a_container_removed_from_outside_is_told_once(self, rig: Rig) -> None:
        rig.engine.vanish(rig.start().container_id)

        (operation,) = reconcile()

        assert (operation.op_kind, operation.outcome) == (OpKind.RECONCILE_DISPOSE, Outcome.SUCCESS)
        assert (record().status, record().current_container_id) == (RuntimeStatus.REMOVED, None)
        assert health_events() == ["container_started", "container_disappeared"]
        assert reconcile() == []

    def test_the_loss_of_a_stopped_games_container_is_no_event(self, rig: Rig) -> None:
        started = rig.start()
        rig.stop()
        rig.engine.vanish(started.container_id)

        reconcile()

        assert record().status == RuntimeStatus.REMOVED
        assert health_events() == ["container_started"]

    def test_a_container_that_is_back_by_then_is_kept(self, rig: Rig) -> None:
        started = rig.start()
        container = rig.engine.containers.pop(started.container_id)
        reconciler.reconcile_all()
        rig.engine.containers[started.container_id] = container

        assert rig.do(Operation.objects.get(op_kind=OpKind.RECONCILE_DISPOSE)).error_code == "replay_no_op"
        assert record().status == RuntimeStatus.RUNNING

    def left_by(self, rig: Rig, operation: Operation, *, started_at_ms: int) -> str:
        """A live container that says that this operation made it at that time; returns its id."""
        spec = build_spec(
            current_policy(),
            game_id="g1",
            image_ref=IMAGE,
            limits=current_policy().default_limits,
            operation_id=operation.pk,
            fence=operation.fence or 0,
            started_at_ms=started_at_ms,
        )
        container_id = rig.engine.add(spec, image=rig.engine.images[IMAGE])
        rig.engine.start(rig.engine.containers[container_id])
        return container_id

    def test_what_a_failed_start_left_behind_is_removed(self, rig: Rig) -> None:
        failed = rig.start(image_ref="galaxy-engine:9.9.9")
        assert failed.started_at is not None
        self.left_by(rig, failed, started_at_ms=epoch_ms(failed.started_at))

        (operation,) = reconcile()

        assert (operation.outcome, operation.error_code) == (Outcome.SUCCESS, "")
        assert rig.engine.containers == {}
        assert not Runtime.objects.exists()

    def test_what_was_removed_before_the_answer_got_lost_is_no_replay(self, rig: Rig) -> None:
        failed = rig.start(image_ref="galaxy-engine:9.9.9")
        assert failed.started_at is not None
        self.left_by(rig, failed, started_at_ms=epoch_ms(failed.started_at))
        rig.engine.fail_after("remove", ContainersUnavailableError("Docker is away"))
        (operation,) = reconcile()
        end_backoff(operation)

        assert rig.do(operation).outcome == Outcome.SUCCESS
        assert (operation.error_code, rig.engine.containers) == ("", {})

    def test_a_game_of_an_earlier_database_is_adopted_though_its_operation_id_is_taken_again(self, rig: Rig) -> None:
        failed = rig.start(image_ref="galaxy-engine:9.9.9")
        container_id = self.left_by(rig, failed, started_at_ms=1_600_000_000_000)

        (operation,) = reconcile()

        assert operation.op_kind == OpKind.RECONCILE_ADOPT
        assert record().current_container_id == container_id


class TestExit:
    @pytest.mark.parametrize(
        ("oom", "events"),
        [(False, ["container_exited"]), (True, ["container_oom", "container_exited"])],
        ids=["exit", "oom"],
    )
    def test_an_engine_that_ended_by_itself_is_recorded_and_told(
        self, rig: Rig, *, oom: bool, events: list[str]
    ) -> None:
        started = rig.start()
        rig.engine.exit(started.container_id, exit_code=137, oom_killed=oom)

        (operation,) = reconcile()

        assert (operation.op_kind, operation.outcome) == (OpKind.RECONCILE_EXIT, Outcome.SUCCESS)
        assert (record().status, record().current_container_id) == (RuntimeStatus.STOPPED, started.container_id)
        assert health_events()[1:] == events
        details = published(Topic.HEALTH_EVENTS)[-1]["details"]
        assert details == f'{{"exit_code":137,"oom":{str(oom).lower()}}}'

    def test_each_end_of_one_container_is_told(self, rig: Rig) -> None:
        started = rig.start()
        rig.engine.exit(started.container_id, exit_code=1)
        reconcile()
        rig.engine.start(rig.engine.containers[started.container_id])
        reconcile()
        rig.engine.exit(started.container_id, exit_code=2)
        reconcile()

        assert health_events() == ["container_started", "container_exited", "container_exited"]

    def test_our_own_stop_is_no_exit(self, rig: Rig) -> None:
        rig.start()
        rig.stop()

        assert reconcile() == []
        assert health_events() == ["container_started"]


class TestCaution:
    def test_docker_away_means_unknown(self, rig: Rig) -> None:
        rig.start()
        rig.engine.go_away()

        assert reconcile() == []
        assert record().status == RuntimeStatus.RUNNING

    def test_a_game_with_an_open_operation_is_left_alone(self, rig: Rig) -> None:
        rig.engine.vanish(rig.start().container_id)
        rig.ask_stop()

        looks = rig.engine.calls["list_owned"]
        assert reconciler.reconcile_games(["g1"]) == {"g1"}
        assert not Operation.objects.filter(op_source=OpSource.AUTO_RECONCILE).exists()
        assert rig.engine.calls["list_owned"] == looks

    def test_of_several_games_those_that_are_not_busy_are_looked_at(self, rig: Rig) -> None:
        rig.engine.vanish(rig.start("g1").container_id)
        rig.engine.vanish(rig.start("g2").container_id)
        rig.ask_stop("g1")

        assert reconciler.reconcile_games(["g1", "g2"]) == {"g1"}
        asked = Operation.objects.filter(op_source=OpSource.AUTO_RECONCILE).values_list("game_id", flat=True)
        assert list(asked) == ["g2"]

    def test_looking_twice_asks_once(self, rig: Rig) -> None:
        rig.engine.vanish(rig.start().container_id)

        reconciler.reconcile_all()
        reconciler.reconcile_all()

        assert Operation.objects.filter(op_source=OpSource.AUTO_RECONCILE).count() == 1

    def test_only_the_games_named_are_looked_at(self, rig: Rig) -> None:
        rig.engine.vanish(rig.start("g1").container_id)
        rig.engine.vanish(rig.start("g2").container_id)

        assert reconciler.reconcile_games(["g2"]) == set()
        assert list(Operation.objects.filter(op_source=OpSource.AUTO_RECONCILE).values_list("game_id", flat=True)) == [
            "g2"
        ]


class TestCommand:
    def test_a_dry_run_prints_the_plan_and_does_nothing(self, rig: Rig) -> None:
        rig.engine.vanish(rig.start().container_id)
        printed = StringIO()

        call_command("reconcile", "--dry-run", stdout=printed)

        assert "g1: reconcile_dispose: recorded, but its container is gone" in printed.getvalue()
        assert not Operation.objects.filter(op_source=OpSource.AUTO_RECONCILE).exists()

    def test_agreement_is_said_too(self, rig: Rig) -> None:
        rig.start()
        printed = StringIO()

        call_command("reconcile", stdout=printed)

        assert "records and Docker agree" in printed.getvalue()

    def test_docker_away_is_an_error_not_an_empty_plan(self, rig: Rig) -> None:
        rig.engine.go_away()

        with pytest.raises(CommandError, match="not taken for gone"):
            call_command("reconcile", "--dry-run")

    def test_the_survey_itself_says_that_it_does_not_know(self, rig: Rig) -> None:
        rig.engine.go_away()

        with pytest.raises(ContainersUnavailableError):
            reconciler.survey()


class TestRetention:
    def age(self, days: int) -> None:
        Runtime.objects.update(stopped_at=Now() - timedelta(days=days), last_op_at=Now() - timedelta(days=days))

    def test_a_container_stopped_long_ago_is_cleaned_up(self, rig: Rig) -> None:
        rig.start()
        rig.stop()
        self.age(31)

        assert retention.clean_up_expired() == 1
        operation = rig.do(Operation.objects.get(op_source=OpSource.AUTO_TTL))

        assert (operation.op_kind, operation.outcome) == (OpKind.CLEANUP_CONTAINER, Outcome.SUCCESS)
        assert record().status == RuntimeStatus.REMOVED
        assert (rig.state_root / "g1").is_dir()

    def test_a_recent_one_is_kept(self, rig: Rig) -> None:
        rig.start()
        rig.stop()
        self.age(29)

        assert retention.clean_up_expired() == 0

    def test_a_running_one_is_kept_however_old(self, rig: Rig) -> None:
        rig.start()
        Runtime.objects.update(last_op_at=Now() - timedelta(days=400))

        assert retention.clean_up_expired() == 0

    def test_one_that_never_ran_is_cleaned_up_too(self, rig: Rig) -> None:
        rig.start(no_start=True)
        Runtime.objects.update(last_op_at=Now() - timedelta(days=31))

        assert retention.clean_up_expired() == 1

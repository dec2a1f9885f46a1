"""Docker restarts under running games: what is recorded, what is reported, and how the games come back."""

import pytest

from operations import runner
from operations.execution import no_ops
from operations.health import docker_starts
from operations.models import DaemonRun, ExitReport, Operation
from operations.monitoring import heartbeats
from operations.monitoring.heartbeats import HeartbeatName
from operations.reconcile import survey
from operations.states import OPEN_STATES, OperationSource, Topic
from runtimes.containers import connect
from runtimes.containers.base import ContainersUnavailableError
from runtimes.containers.fake.adapter import FakeImage
from runtimes.states import EndedBy, RuntimeStatus
from tests.integration.harness import IMAGE, OTHER_IMAGE, Rig, end_backoff, published, record, results

AWAY = "Docker is shutting down"


@pytest.fixture
def watched(rig: Rig) -> Rig:
    """An installation whose watcher has just been connected to the engine, as it is before a restart."""
    docker_starts.record_current(connect())
    heartbeats.record_heartbeat(HeartbeatName.WATCHER)
    return rig


def reconcile() -> list[Operation]:
    """One round: compare, and let a worker do what was asked for."""
    survey.reconcile_all()
    asked = list(
        Operation.objects.filter(op_source=OperationSource.AUTO_RECONCILE, state__in=OPEN_STATES).order_by("id")
    )
    for operation in asked:
        runner.run(operation.pk)
        operation.refresh_from_db()
    return asked


def exits() -> list[str]:
    """The games of which an exit was reported, in order."""
    events = published(Topic.HEALTH_EVENTS)
    return [event["game_id"] for event in events if event["event_type"] == "container_exited"]


def end_with_docker(rig: Rig, *game_ids: str) -> None:
    """Start these games and restart Docker under them."""
    for game_id in game_ids:
        rig.start(game_id)
    rig.engine.restart()
    reconcile()


class TestRecognition:
    def test_every_game_that_ran_has_ended_with_docker_and_is_reported_once(self, watched: Rig) -> None:
        end_with_docker(watched, "g1", "g2", "g3")
        reconcile()

        assert [record(game_id).ended_by for game_id in ("g1", "g2", "g3")] == [EndedBy.DOCKER_RESTARTED] * 3
        assert [record(game_id).status for game_id in ("g1", "g2", "g3")] == [RuntimeStatus.STOPPED] * 3
        assert exits() == ["g1", "g2", "g3"]
        assert ExitReport.objects.count() == 3

    def test_with_live_restore_nothing_happens_to_the_games_and_nothing_is_claimed(self, watched: Rig) -> None:
        watched.start()

        watched.engine.restart(live_restore=True)

        assert reconcile() == []
        assert (record().status, record().ended_by) == (RuntimeStatus.RUNNING, "")
        assert exits() == []

    def test_a_crash_after_a_restart_with_live_restore_is_the_games_own(self, watched: Rig) -> None:
        started = watched.start()
        watched.engine.restart(live_restore=True)
        watched.engine.exit(started.container_id, exit_code=3)

        reconcile()

        assert record().ended_by == EndedBy.EXITED

    def test_a_game_stopped_on_purpose_before_is_not_touched(self, watched: Rig) -> None:
        watched.start()
        watched.stop()
        before = record()

        watched.engine.restart()

        assert reconcile() == []
        assert (record().ended_by, record().fence, record().stopped_at) == ("", before.fence, before.stopped_at)

    @pytest.mark.parametrize(("exit_code", "cause"), [(3, EndedBy.EXITED), (0, EndedBy.EXITED), (137, EndedBy.KILLED)])
    def test_a_game_that_had_ended_by_itself_before_is_not_touched(
        self, watched: Rig, exit_code: int, cause: EndedBy
    ) -> None:
        started = watched.start()
        watched.engine.exit(started.container_id, exit_code=exit_code)
        reconcile()

        watched.engine.restart()

        assert reconcile() == []
        assert record().ended_by == cause
        assert exits() == ["g1"]

    def test_a_game_that_crashes_after_the_restart_ended_by_itself(self, watched: Rig) -> None:
        end_with_docker(watched, "g1")
        again = watched.restart()
        watched.engine.exit(again.container_id, exit_code=0)

        reconcile()

        assert record().ended_by == EndedBy.EXITED

    def test_an_end_seen_while_docker_shuts_down_is_judged_after_its_next_start(self, watched: Rig) -> None:
        started = watched.start()
        watched.engine.exit(started.container_id, exit_code=0)
        watched.engine.fail_before("daemon_started_at", ContainersUnavailableError(AWAY))
        (operation,) = reconcile()
        early = (operation.outcome, record().status, exits())
        watched.engine.restart()
        end_backoff(operation)

        watched.do(operation)

        assert early == (None, RuntimeStatus.RUNNING, [])
        assert record().ended_by == EndedBy.DOCKER_RESTARTED
        assert exits() == ["g1"]

    def test_an_engine_without_a_start_time_is_never_blamed(self, watched: Rig) -> None:
        started = watched.start()
        watched.engine.restart(exit_code=0)
        watched.engine.started_at = None

        reconcile()

        assert started.container_id == record().current_container_id
        assert record().ended_by == EndedBy.EXITED
        assert DaemonRun.objects.count() == 1

    def test_a_service_that_never_saw_docker_run_blames_it_for_nothing(self, rig: Rig) -> None:
        end_with_docker(rig, "g1")

        assert record().ended_by == EndedBy.KILLED

    def test_the_first_to_see_a_start_notes_until_when_docker_ran_before(self, watched: Rig) -> None:
        watched.engine.restart()
        docker_starts.record_current(connect())
        before = docker_starts.known_starts()
        heartbeats.record_heartbeat(HeartbeatName.WATCHER)

        docker_starts.record_current(connect())

        assert docker_starts.known_starts() == before
        assert next(one.started_at for one in before) == watched.engine.started_at
        assert before[0].up_until is not None

    def test_a_stop_that_finds_the_game_ended_makes_it_stopped_on_purpose(self, watched: Rig) -> None:
        watched.start()
        watched.engine.restart()

        stopped = watched.stop()

        assert (stopped.error_code, record().status, record().ended_by) == ("", RuntimeStatus.STOPPED, "")
        assert exits() == ["g1"]
        assert reconcile() == []


class TestForgetting:
    """Whatever brings a game up, or down on purpose, takes the cause of its former end from the record."""

    def test_a_start_a_restart_and_an_adoption_clear_it(self, watched: Rig) -> None:
        end_with_docker(watched, "g1", "g2", "g3")
        adopted = watched.container("g3")
        assert adopted is not None

        watched.start("g1")
        watched.restart("g2")
        watched.engine.start(adopted)
        reconcile()

        assert [record(game_id).ended_by for game_id in ("g1", "g2", "g3")] == ["", "", ""]
        assert [record(game_id).status for game_id in ("g1", "g2", "g3")] == [RuntimeStatus.RUNNING] * 3

    def test_a_cleanup_clears_it(self, watched: Rig) -> None:
        end_with_docker(watched, "g1")

        watched.cleanup()

        assert (record().status, record().ended_by) == (RuntimeStatus.REMOVED, "")

    def test_a_stop_job_stays_a_replay_and_makes_the_game_stopped_on_purpose(self, watched: Rig) -> None:
        end_with_docker(watched, "g1")
        before = record()
        job = watched.ask_stop()

        no_ops.complete_waiting(["g1"])
        done = watched.do(job)

        assert done.error_code == "replay_no_op"
        assert results()[-1]["error_code"] == "replay_no_op"
        assert (record().status, record().ended_by, record().stopped_at) == ("stopped", "", before.stopped_at)
        assert exits() == ["g1"]

    def test_the_next_stop_is_answered_without_a_worker(self, watched: Rig) -> None:
        end_with_docker(watched, "g1")
        watched.stop()
        job = watched.ask_stop()

        no_ops.complete_waiting(["g1"])

        job.refresh_from_db()
        assert job.error_code == "replay_no_op"

    def test_a_patch_that_fails_leaves_the_cause_of_a_game_that_stays_down(self, watched: Rig) -> None:
        end_with_docker(watched, "g1")
        watched.engine.images[OTHER_IMAGE] = FakeImage(exit_code=3)

        failed = watched.patch(OTHER_IMAGE)

        assert failed.error_code == "container_start_failed"
        assert (record().status, record().ended_by) == (RuntimeStatus.STOPPED, EndedBy.DOCKER_RESTARTED)

    def test_a_restart_whose_image_is_missing_leaves_the_cause(self, watched: Rig) -> None:
        end_with_docker(watched, "g1")
        watched.engine.images.clear()

        failed = watched.restart()

        assert failed.error_code == "image_pull_failed"
        assert (record().status, record().ended_by) == (RuntimeStatus.STOPPED, EndedBy.DOCKER_RESTARTED)


class TestConditionalRestart:
    def restart(self, rig: Rig, game_id: str = "g1") -> Operation:
        return rig.restart(game_id, if_ended_by=EndedBy.DOCKER_RESTARTED.value)

    def test_it_brings_up_a_game_that_is_still_down_for_that_cause(self, watched: Rig) -> None:
        end_with_docker(watched, "g1")

        done = self.restart(watched)

        assert (done.outcome, done.error_code) == ("success", "")
        assert (record().status, record().current_image_ref) == (RuntimeStatus.RUNNING, IMAGE)

    def test_a_game_that_runs_again_is_left_alone(self, watched: Rig) -> None:
        end_with_docker(watched, "g1")
        up = watched.start()

        done = self.restart(watched)

        assert (done.outcome, done.error_code) == ("success", "replay_no_op")
        assert record().current_container_id == up.container_id
        container = watched.container()
        assert container is not None
        assert container.is_alive

    def test_a_game_that_was_stopped_or_removed_meanwhile_is_left_alone(self, watched: Rig) -> None:
        end_with_docker(watched, "g1", "g2")
        watched.stop("g1")
        watched.cleanup("g2")

        done = [self.restart(watched, game_id) for game_id in ("g1", "g2")]

        assert [one.error_code for one in done] == ["replay_no_op", "replay_no_op"]
        assert [record(game_id).status for game_id in ("g1", "g2")] == ["stopped", "removed"]

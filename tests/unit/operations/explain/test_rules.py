"""One game per cause: the cause is named, and no proposed verb would be refused."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from operations.explain.diagnosis import Cause, Diagnosis, Severity
from operations.explain.facts import Facts, StateDirectory
from operations.explain.next_step import VERBS, refusal
from operations.explain.rules.order import diagnose
from operations.models import ExitReport
from operations.runner import DATABASE_WENT_AWAY
from runtimes.containers.base import ContainerState
from tests.unit.operations.explain.game_facts import (
    CONTAINER_ID,
    DEAD_LETTER,
    DOCKER_DOWN,
    FOREIGN_CONTAINER,
    GAME,
    GAMES,
    HEARTBEATS,
    IMAGE,
    NO_CONTAINER,
    NOW,
    OTHER_ID,
    OTHER_IMAGE,
    REMOVED,
    STOPPED,
    UNKNOWN_GAME,
    UP,
    after_failure,
    ago,
    container,
    docker_state_of,
    ended,
    failed,
    operation,
    record,
    running,
    snapshot,
    waiting,
    with_open_operation,
)


def diagnosis_of(facts: Facts) -> Diagnosis:
    return diagnose(facts, now=NOW)


def test_there_is_a_game_for_every_cause() -> None:
    assert set(GAMES) == set(Cause)


@pytest.mark.parametrize("cause", GAMES)
def test_the_cause_is_named(cause: str) -> None:
    assert diagnosis_of(GAMES[cause]).cause == cause


@pytest.mark.parametrize("cause", GAMES)
def test_the_headline_names_the_game_and_is_one_line(cause: str) -> None:
    headline = diagnosis_of(GAMES[cause]).headline

    assert GAME in headline
    assert "\n" not in headline
    assert not headline.endswith(".")


@pytest.mark.parametrize("cause", GAMES)
def test_no_verb_is_proposed_that_would_be_refused(cause: str) -> None:
    step = diagnosis_of(GAMES[cause]).step

    assert step.text
    assert step.verb is None or not refusal(GAMES[cause], step.verb, image_ref=step.arguments.get("image_ref", ""))


class TestServers:
    def test_without_an_answer_of_docker_nothing_is_said_to_be_gone(self) -> None:
        diagnosis = diagnosis_of(replace(UP, docker_state=DOCKER_DOWN))

        assert diagnosis.cause == Cause.DOCKER_UNREACHABLE
        assert "Its record says running" in diagnosis.detail
        assert not re.search(r"gone|disappeared|no container", diagnosis.headline + diagnosis.detail)

    def test_the_next_reconcile_is_an_interval_after_the_last_one(self) -> None:
        assert diagnosis_of(replace(UP, docker_state=DOCKER_DOWN)).automatic.at == NOW + timedelta(minutes=2)

    def test_an_operation_delayed_without_docker_names_its_next_attempt(self) -> None:
        again = NOW + timedelta(seconds=8)

        diagnosis = diagnosis_of(with_open_operation(waiting(not_before=again, retries=3), docker_state=DOCKER_DOWN))

        assert (diagnosis.cause, diagnosis.automatic.at) == (Cause.DOCKER_UNREACHABLE, again)

    def test_a_game_without_a_record_was_never_started_also_without_docker(self) -> None:
        diagnosis = diagnosis_of(replace(UNKNOWN_GAME, docker_state=DOCKER_DOWN))

        assert diagnosis.cause == Cause.NEVER_STARTED
        assert "unknown" in diagnosis.detail

    def test_silent_workers_are_reported_before_an_operation_is_requested(self) -> None:
        diagnosis = diagnosis_of(replace(UP, heartbeats={**HEARTBEATS, "canary": ago(minutes=4)}))

        assert (diagnosis.cause, diagnosis.severity) == (Cause.WORKER_DOWN, Severity.WARNING)
        assert "03:08:09 UTC (4 min ago)" in diagnosis.headline

    def test_a_service_that_has_never_had_a_canary_is_not_blamed_for_it(self) -> None:
        assert diagnosis_of(replace(UP, heartbeats={})).cause == Cause.HEALTHY


class TestWork:
    def test_a_job_just_accepted_is_on_its_way(self) -> None:
        assert diagnosis_of(with_open_operation(waiting(accepted_at=ago(seconds=4)))).cause == Cause.STOPPING

    def test_an_operation_that_no_worker_takes_is_reported_after_five_seconds(self) -> None:
        diagnosis = diagnosis_of(with_open_operation(waiting(accepted_at=ago(seconds=6))))

        assert diagnosis.cause == Cause.WORKER_DOWN
        assert "since 03:12:03 UTC" in diagnosis.headline

    def test_an_old_job_whose_turn_has_just_come_has_not_waited_for_a_worker(self) -> None:
        before = operation("start", 8, finished_at=ago(seconds=2))

        diagnosis = diagnosis_of(with_open_operation(waiting(accepted_at=ago(minutes=9)), last_operations=(before,)))

        assert diagnosis.cause == Cause.STOPPING

    def test_a_lease_that_no_worker_takes_over_is_a_missing_worker(self) -> None:
        diagnosis = diagnosis_of(with_open_operation(running(lease_ends_in=-30)))

        assert diagnosis.cause == Cause.WORKER_DOWN
        assert "since 03:11:39 UTC" in diagnosis.headline

    def test_a_lease_that_has_just_ended_is_about_to_be_taken_over(self) -> None:
        diagnosis = diagnosis_of(with_open_operation(running(lease_ends_in=-1)))

        assert diagnosis.cause == Cause.RECOVERING
        assert "The lease ended at 03:12:08 UTC" in diagnosis.detail

    def test_the_end_of_a_silent_workers_lease_is_diagnosis_of(self) -> None:
        diagnosis = diagnosis_of(with_open_operation(running(lease_ends_in=20), running_operations=1))

        assert "host-1:4711" in diagnosis.headline
        assert "03:12:29 UTC (in 20 s)" in diagnosis.detail
        assert diagnosis.automatic.at == NOW + timedelta(seconds=24)

    def test_workers_that_died_of_an_operation_are_counted(self) -> None:
        assert (
            "2 ended without a result"
            in diagnosis_of(with_open_operation(running(attempt=4, retries=1), running_operations=1)).detail
        )

    def test_docker_is_not_suspected_of_what_postgresql_has_interrupted(self) -> None:
        put_off = waiting(not_before=NOW + timedelta(seconds=8), retries=1, error_message=DATABASE_WENT_AWAY)

        diagnosis = diagnosis_of(with_open_operation(put_off))

        assert diagnosis.cause == Cause.BACKING_OFF
        assert DATABASE_WENT_AWAY in diagnosis.detail
        assert "Docker" not in diagnosis.step.text
        assert diagnosis.step.command == ""

    def test_waiting_for_the_pull_of_another_operation_is_a_pull(self) -> None:
        one = waiting("start", waiting_for_image=OTHER_IMAGE, not_before=NOW + timedelta(seconds=9))

        diagnosis = diagnosis_of(with_open_operation(one, facts=UNKNOWN_GAME))

        assert diagnosis.cause == Cause.PULLING
        assert f"waits for the pull of image {OTHER_IMAGE}" in diagnosis.headline

    def test_only_a_long_pull_is_a_warning(self) -> None:
        step = {"name": "pull", "started_at": "2026-11-21T03:12:00Z", "duration_ms": None, "error": ""}

        short = diagnosis_of(
            with_open_operation(running("start", steps=[step]), facts=UNKNOWN_GAME, running_operations=1)
        )

        assert (short.severity, diagnosis_of(GAMES["pulling"]).severity) == (Severity.INFO, Severity.WARNING)

    def test_a_pull_of_an_image_without_a_known_name_is_a_whole_sentence(self) -> None:
        step = {"name": "pull", "started_at": "2026-11-21T03:12:00Z", "duration_ms": None, "error": ""}

        diagnosis = diagnosis_of(
            with_open_operation(
                running("restart", image_ref="", steps=[step]), facts=UNKNOWN_GAME, running_operations=1
            )
        )

        assert "is pulling an image without a known name since 03:12:00 UTC" in diagnosis.headline
        assert diagnosis.step.command == ""

    def test_no_verb_is_free_while_the_game_is_busy(self) -> None:
        busy = GAMES["queued_behind"]

        assert {bool(refusal(busy, verb, image_ref=IMAGE)) for verb in VERBS} == {True}


class TestWhatStandsInDocker:
    def test_a_foreign_container_is_not_touched(self) -> None:
        diagnosis = diagnosis_of(GAMES["foreign_container"])

        assert diagnosis.step.command == "docker rename 77aa11bb22cc galaxy-game-g-42-foreign"
        assert diagnosis.step.verb is None

    def test_a_game_adopted_under_another_name_is_reached_under_that_name(self) -> None:
        adopted = replace(UP, record=record(engine_endpoint="http://by-hand:8080"))

        assert (
            diagnosis_of(
                replace(adopted, docker_state=docker_state_of(container(name="by-hand"), foreign=FOREIGN_CONTAINER))
            ).cause
            == Cause.HEALTHY
        )

    def test_a_live_container_of_a_game_without_a_record_is_about_to_be_adopted(self) -> None:
        assert (
            diagnosis_of(replace(UNKNOWN_GAME, docker_state=docker_state_of(container()))).cause == Cause.DRIFT_PENDING
        )

    def test_another_live_container_than_the_recorded_one_is_drift(self) -> None:
        assert (
            diagnosis_of(replace(UP, docker_state=docker_state_of(container(id=OTHER_ID)))).cause == Cause.DRIFT_PENDING
        )

    def test_a_stopped_game_whose_container_was_removed_by_hand_is_drift(self) -> None:
        diagnosis = diagnosis_of(replace(STOPPED, docker_state=NO_CONTAINER))

        assert diagnosis.cause == Cause.DRIFT_PENDING
        assert diagnosis.automatic.at == NOW + timedelta(minutes=2)

    def test_a_recorded_disappearance_names_when_it_was_noticed(self) -> None:
        diagnosis = diagnosis_of(
            replace(UP, docker_state=NO_CONTAINER, record=record("removed"), snapshot=snapshot("container_disappeared"))
        )

        assert diagnosis.cause == Cause.CONTAINER_DISAPPEARED
        assert "02:12:09 UTC" in diagnosis.headline
        assert CONTAINER_ID[:12] in diagnosis.headline
        assert (diagnosis.step.verb, diagnosis.step.arguments) == ("start", {"image_ref": IMAGE})


class TestFailures:
    def test_an_image_that_has_come_since_can_be_started(self) -> None:
        diagnosis = diagnosis_of(replace(GAMES["image_missing"], docker_state=docker_state_of(None, has_image=True)))

        assert diagnosis.cause == Cause.IMAGE_MISSING
        assert (diagnosis.step.verb, diagnosis.step.arguments) == ("start", {"image_ref": OTHER_IMAGE})

    def test_a_network_that_is_there_again_is_not_said_to_be_missing(self) -> None:
        diagnosis = diagnosis_of(replace(GAMES["network_missing"], docker_state=NO_CONTAINER))

        assert (diagnosis.cause, diagnosis.step.verb) == (Cause.START_FAILED, "start")

    def test_a_state_directory_that_takes_writes_again_can_be_started_on(self) -> None:
        corrected = StateDirectory(is_known=True, free_bytes=10**9)

        diagnosis = diagnosis_of(replace(GAMES["state_directory_unusable"], state_directory=corrected))

        assert (diagnosis.cause, diagnosis.step.verb) == (Cause.STATE_DIRECTORY_UNUSABLE, "start")

    def test_after_a_crash_the_image_that_once_worked_is_proposed(self) -> None:
        assert diagnosis_of(GAMES["crash_at_start"]).step.arguments == {"image_ref": IMAGE}

    def test_a_failure_that_something_has_followed_explains_nothing(self) -> None:
        before = failed("image_pull_failed", "no", step="pull")

        assert (
            diagnosis_of(replace(UP, last_requested=before, last_change=operation("reconcile_adopt", 10))).cause
            == Cause.HEALTHY
        )

    def test_a_refusal_is_reported_for_a_day(self) -> None:
        old = failed("conflict", "busy", op_kind="patch", finished_at=ago(hours=25))

        assert diagnosis_of(after_failure(old, UP)).cause == Cause.HEALTHY

    def test_a_start_that_was_refused_for_a_game_whose_id_differs_in_case_names_that_game(self) -> None:
        diagnosis = diagnosis_of(GAMES["operation_refused"])

        assert "because game G-42 has a container" in diagnosis.headline
        assert (diagnosis.severity, diagnosis.step.command) == (Severity.WARNING, "rtm explain G-42")
        assert "G-42" in refusal(GAMES["operation_refused"], "start", image_ref=IMAGE)

    def test_a_refused_start_of_a_game_that_runs_is_not_its_cause(self) -> None:
        refused = failed("conflict", "it is running another image", image_ref=OTHER_IMAGE)

        assert diagnosis_of(after_failure(refused, UP)).cause == Cause.HEALTHY

    def test_a_patch_that_lost_the_game_is_a_failed_start(self) -> None:
        message = f"image {OTHER_IMAGE} did not come up; the old image {IMAGE} could not be put back either: gone"
        lost = failed("container_start_failed", message, step="revert", op_kind="patch", image_ref=OTHER_IMAGE)

        diagnosis = diagnosis_of(after_failure(lost, REMOVED))

        assert diagnosis.cause == Cause.START_FAILED
        assert "could not be put back" in diagnosis.detail


class TestExits:
    @pytest.mark.parametrize(
        ("code", "cause"), [(137, "killed_outside"), (143, "killed_outside"), (0, "exited_by_itself")]
    )
    def test_the_exit_code_distinguishes_a_kill_from_an_exit(self, code: int, cause: str) -> None:
        assert diagnosis_of(replace(UP, docker_state=docker_state_of(ended(code)))).cause == cause

    def test_a_missing_oom_event_of_docker_is_no_proof(self) -> None:
        assert "dmesg" in diagnosis_of(replace(UP, docker_state=docker_state_of(ended(137)))).step.text
        assert "dmesg" not in diagnosis_of(replace(UP, docker_state=docker_state_of(ended(143)))).step.text

    def test_exit_code_137_after_an_oom_event_is_out_of_memory(self) -> None:
        diagnosis = diagnosis_of(GAMES["out_of_memory"])

        assert "limit 512 MiB" in diagnosis.headline
        assert "03:08:09 UTC (4 min ago)" in diagnosis.headline
        assert diagnosis.step.verb == "restart"

    def test_an_exit_long_after_an_oom_event_is_an_exit(self) -> None:
        assert (
            diagnosis_of(replace(UP, docker_state=docker_state_of(ended(3, oom_killed=True)))).cause
            == Cause.EXITED_BY_ITSELF
        )

    def test_an_oom_kill_of_a_child_process_is_a_warning(self) -> None:
        diagnosis = diagnosis_of(replace(UP, snapshot=snapshot("container_oom")))

        assert (diagnosis.cause, diagnosis.severity) == (Cause.OUT_OF_MEMORY, Severity.WARNING)

    def test_a_requested_stop_is_no_kill(self) -> None:
        assert diagnosis_of(STOPPED).cause == Cause.STOPPED_ON_REQUEST

    def test_an_adopted_game_that_ended_is_not_taken_for_stopped_on_purpose(self) -> None:
        adopted = replace(
            STOPPED, desired_by=None, last_requested=None, snapshot=snapshot("container_exited", exit_code=1)
        )

        assert diagnosis_of(replace(adopted, docker_state=docker_state_of(ended(1)))).cause == Cause.EXITED_BY_ITSELF

    def test_the_exit_report_of_a_former_container_is_not_offered_for_this_one(self) -> None:
        former = ExitReport(id=11, container_id=OTHER_ID)

        diagnosis = diagnosis_of(replace(UP, docker_state=docker_state_of(ended(1)), exit_report=former))

        assert "rtm logs g-42" in diagnosis.step.text
        assert "exit report 12" in diagnosis_of(GAMES["exited_by_itself"]).step.text


class TestRunning:
    def test_a_paused_container_is_unpaused(self) -> None:
        paused = replace(
            UP, docker_state=docker_state_of(container(ContainerState.PAUSED, addresses={"galaxy-net": "172.20.0.5"}))
        )

        diagnosis = diagnosis_of(paused)

        assert (diagnosis.cause, diagnosis.step.command) == (Cause.DOCKER_UNHEALTHY, "docker unpause 3f4e0d7a9c1b")

    def test_probes_of_a_former_container_say_nothing_of_this_one(self) -> None:
        former = snapshot("probe_failed", container_id=OTHER_ID, probe_failures=3)

        assert diagnosis_of(replace(UP, snapshot=former)).cause == Cause.HEALTHY

    def test_another_docker_host_is_in_the_commands(self) -> None:
        rules = replace(UP.config, docker_host="tcp://10.0.0.7:2375")

        diagnosis = diagnosis_of(replace(GAMES["foreign_container"], config=rules))

        assert diagnosis.step.command.startswith("docker -H tcp://10.0.0.7:2375 rename")

    def test_the_commands_do_not_use_the_docker_gateway(self) -> None:
        rules = replace(UP.config, docker_host="unix:///run/rtmanager/docker/watch.sock")

        diagnosis = diagnosis_of(replace(GAMES["foreign_container"], config=rules))

        assert diagnosis.step.command.startswith("docker rename")


class TestIdle:
    def test_the_day_of_the_cleanup_is_diagnosis_of(self) -> None:
        assert diagnosis_of(STOPPED).automatic.at == ago(hours=1) + timedelta(days=30)

    def test_a_job_that_could_not_be_read_is_the_reason_why_a_game_never_started(self) -> None:
        diagnosis = diagnosis_of(replace(UNKNOWN_GAME, dead_letters=(DEAD_LETTER,)))

        assert diagnosis.cause == Cause.NEVER_STARTED
        assert "image_ref is missing" in diagnosis.headline
        assert diagnosis.step.command == "python manage.py redrive_dead_letter 3"

    def test_a_removed_game_is_started_not_restarted(self) -> None:
        verbs = {verb: refusal(REMOVED, verb, image_ref=IMAGE) for verb in VERBS}

        assert diagnosis_of(REMOVED).step.verb == "start"
        assert [verb for verb, reason in verbs.items() if not reason] == ["start", "stop", "cleanup"]

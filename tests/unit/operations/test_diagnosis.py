"""One game per cause: the right one is named, in words that help, and what is proposed would not be refused."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from operations.diagnosis.facts import Facts, StateDirectory
from operations.diagnosis.refusals import VERBS, refusal
from operations.diagnosis.table import diagnose
from operations.diagnosis.verdicts import Cause, Severity, Verdict
from operations.exceptions import DATABASE_WENT_AWAY
from operations.models import BlackBox
from runtimes.containers.base import ContainerState
from tests.unit.operations.explained_games import (
    AWAY,
    CONTAINER_ID,
    GAME,
    GAMES,
    IMAGE,
    LETTER,
    NOBODY,
    NOW,
    OTHER_ID,
    OTHER_IMAGE,
    PULSES,
    REMOVED,
    STOPPED,
    STRANGER,
    UNHEARD_OF,
    UP,
    after_failure,
    ago,
    at_work,
    container,
    ended,
    failed,
    operation,
    record,
    running,
    sees,
    snapshot,
    waiting,
)


def told(facts: Facts) -> Verdict:
    return diagnose(facts, now=NOW)


def test_there_is_a_game_for_every_cause() -> None:
    assert set(GAMES) == set(Cause)


@pytest.mark.parametrize("cause", GAMES)
def test_the_cause_is_named(cause: str) -> None:
    assert told(GAMES[cause]).cause == cause


@pytest.mark.parametrize("cause", GAMES)
def test_the_headline_names_the_game_and_is_one_line(cause: str) -> None:
    headline = told(GAMES[cause]).headline

    assert GAME in headline
    assert "\n" not in headline
    assert not headline.endswith(".")


@pytest.mark.parametrize("cause", GAMES)
def test_no_verb_is_proposed_that_would_be_refused(cause: str) -> None:
    step = told(GAMES[cause]).step

    assert step.text
    assert step.verb is None or not refusal(GAMES[cause], step.verb, image_ref=step.arguments.get("image_ref", ""))


class TestServers:
    def test_without_an_answer_of_docker_nothing_is_said_to_be_gone(self) -> None:
        verdict = told(replace(UP, sight=AWAY))

        assert verdict.cause == Cause.DOCKER_UNREACHABLE
        assert "Its record says running" in verdict.detail
        assert not re.search(r"gone|disappeared|no container", verdict.headline + verdict.detail)

    def test_the_next_look_at_docker_is_an_interval_after_the_last_one(self) -> None:
        assert told(replace(UP, sight=AWAY)).automatic.at == NOW + timedelta(minutes=2)

    def test_an_operation_put_off_while_docker_is_away_tells_when_it_is_tried_again(self) -> None:
        again = NOW + timedelta(seconds=8)

        verdict = told(at_work(waiting(not_before=again, deferrals=3), sight=AWAY))

        assert (verdict.cause, verdict.automatic.at) == (Cause.DOCKER_UNREACHABLE, again)

    def test_a_game_nobody_heard_of_is_never_started_whatever_docker_does(self) -> None:
        verdict = told(replace(UNHEARD_OF, sight=AWAY))

        assert verdict.cause == Cause.NEVER_STARTED
        assert "unknown" in verdict.detail

    def test_silent_workers_are_told_before_anybody_asks_for_something(self) -> None:
        verdict = told(replace(UP, pulses={**PULSES, "canary": ago(minutes=4)}))

        assert (verdict.cause, verdict.severity) == (Cause.WORKER_DOWN, Severity.WARNING)
        assert "03:08:09 UTC (4 min ago)" in verdict.headline

    def test_a_service_that_has_never_had_a_canary_is_not_blamed_for_it(self) -> None:
        assert told(replace(UP, pulses={})).cause == Cause.HEALTHY


class TestWork:
    def test_a_job_just_accepted_is_on_its_way(self) -> None:
        assert told(at_work(waiting(accepted_at=ago(seconds=4)))).cause == Cause.STOPPING

    def test_a_job_that_nobody_takes_up_tells_so_after_five_seconds(self) -> None:
        verdict = told(at_work(waiting(accepted_at=ago(seconds=6))))

        assert verdict.cause == Cause.WORKER_DOWN
        assert "since 03:12:03 UTC" in verdict.headline

    def test_an_old_job_whose_turn_has_just_come_has_not_waited_for_a_worker(self) -> None:
        before = operation("start", 8, finished_at=ago(seconds=2))

        verdict = told(at_work(waiting(accepted_at=ago(minutes=9)), last_operations=(before,)))

        assert verdict.cause == Cause.STOPPING

    def test_a_lease_that_nobody_takes_over_is_a_missing_worker(self) -> None:
        verdict = told(at_work(running(lease_ends_in=-30)))

        assert verdict.cause == Cause.WORKER_DOWN
        assert "waited since 03:11:39 UTC" in verdict.headline

    def test_a_lease_that_has_just_ended_is_about_to_be_taken_over(self) -> None:
        assert told(at_work(running(lease_ends_in=-1))).cause == Cause.RECOVERING

    def test_the_end_of_a_silent_workers_lease_is_told(self) -> None:
        verdict = told(at_work(running(lease_ends_in=20), living_claims=1))

        assert "host-1:4711" in verdict.headline
        assert "03:12:29 UTC (in 20 s)" in verdict.detail
        assert verdict.automatic.at == NOW + timedelta(seconds=24)

    def test_workers_that_died_of_an_operation_are_counted(self) -> None:
        assert "2 ended in silence" in told(at_work(running(attempt=4, deferrals=1), living_claims=1)).detail

    def test_docker_is_not_suspected_of_what_postgresql_has_interrupted(self) -> None:
        put_off = waiting(not_before=NOW + timedelta(seconds=8), deferrals=1, error_message=DATABASE_WENT_AWAY)

        verdict = told(at_work(put_off))

        assert verdict.cause == Cause.BACKING_OFF
        assert DATABASE_WENT_AWAY in verdict.detail
        assert "Docker" not in verdict.step.text
        assert verdict.step.command == ""

    def test_waiting_for_somebody_elses_pull_is_a_pull(self) -> None:
        one = waiting("start", awaits_image=OTHER_IMAGE, not_before=NOW + timedelta(seconds=9))

        verdict = told(at_work(one, facts=UNHEARD_OF))

        assert verdict.cause == Cause.PULLING
        assert f"waits for the pull of image {OTHER_IMAGE}" in verdict.headline

    def test_a_short_pull_worries_nobody_and_a_long_one_does(self) -> None:
        step = {"name": "pull", "started_at": "2026-11-21T03:12:00Z", "duration_ms": None, "error": ""}

        short = told(at_work(running("start", steps=[step]), facts=UNHEARD_OF, living_claims=1))

        assert (short.severity, told(GAMES["pulling"]).severity) == (Severity.INFO, Severity.WARNING)

    def test_no_verb_is_free_while_the_game_is_busy(self) -> None:
        busy = GAMES["queued_behind"]

        assert {bool(refusal(busy, verb, image_ref=IMAGE)) for verb in VERBS} == {True}


class TestWhatStandsInDocker:
    def test_a_strangers_container_is_left_alone(self) -> None:
        verdict = told(GAMES["foreign_container"])

        assert verdict.step.command == "docker rename 77aa11bb22cc galaxy-game-g-42-foreign"
        assert verdict.step.verb is None

    def test_an_adopted_game_under_another_name_is_not_bothered_by_who_has_the_usual_one(self) -> None:
        assert told(replace(UP, sight=sees(container(), foreign=STRANGER))).cause == Cause.HEALTHY

    def test_a_live_container_of_a_game_without_a_record_is_about_to_be_adopted(self) -> None:
        assert told(replace(UNHEARD_OF, sight=sees(container()))).cause == Cause.DRIFT_PENDING

    def test_another_live_container_than_the_recorded_one_is_drift(self) -> None:
        assert told(replace(UP, sight=sees(container(id=OTHER_ID)))).cause == Cause.DRIFT_PENDING

    def test_a_stopped_game_whose_container_was_removed_by_hand_is_drift(self) -> None:
        verdict = told(replace(STOPPED, sight=NOBODY))

        assert verdict.cause == Cause.DRIFT_PENDING
        assert verdict.automatic.at == NOW + timedelta(minutes=2)

    def test_a_disappearance_on_record_tells_when_it_was_found(self) -> None:
        verdict = told(replace(UP, sight=NOBODY, record=record("removed"), snapshot=snapshot("container_disappeared")))

        assert verdict.cause == Cause.CONTAINER_DISAPPEARED
        assert "02:12:09 UTC" in verdict.headline
        assert CONTAINER_ID[:12] in verdict.headline
        assert (verdict.step.verb, verdict.step.arguments) == ("start", {"image_ref": IMAGE})


class TestFailures:
    def test_an_image_that_has_come_since_can_be_started(self) -> None:
        verdict = told(replace(GAMES["image_missing"], sight=sees(None, has_image=True)))

        assert verdict.cause == Cause.IMAGE_MISSING
        assert (verdict.step.verb, verdict.step.arguments) == ("start", {"image_ref": OTHER_IMAGE})

    def test_a_network_that_is_there_again_is_not_said_to_be_missing(self) -> None:
        verdict = told(replace(GAMES["network_missing"], sight=NOBODY))

        assert (verdict.cause, verdict.step.verb) == (Cause.START_FAILED, "start")

    def test_a_state_directory_that_takes_writes_again_can_be_started_on(self) -> None:
        mended = StateDirectory(is_known=True, free_bytes=10**9)

        verdict = told(replace(GAMES["state_directory_unusable"], state_directory=mended))

        assert (verdict.cause, verdict.step.verb) == (Cause.STATE_DIRECTORY_UNUSABLE, "start")

    def test_after_a_crash_the_image_that_once_worked_is_proposed(self) -> None:
        assert told(GAMES["crash_at_start"]).step.arguments == {"image_ref": IMAGE}

    def test_a_failure_that_something_has_followed_explains_nothing(self) -> None:
        before = failed("image_pull_failed", "no", step="pull")

        assert told(replace(UP, last_asked=before, last_change=operation("reconcile_adopt", 10))).cause == Cause.HEALTHY

    def test_a_refusal_is_news_for_a_day(self) -> None:
        old = failed("conflict", "busy", op_kind="patch", finished_at=ago(hours=25))

        assert told(after_failure(old, UP)).cause == Cause.HEALTHY

    def test_a_patch_that_lost_the_game_is_a_failed_start(self) -> None:
        message = f"image {OTHER_IMAGE} did not come up; the old image {IMAGE} could not be put back either: gone"
        lost = failed("container_start_failed", message, op_kind="patch", image_ref=OTHER_IMAGE)

        verdict = told(after_failure(lost, REMOVED))

        assert verdict.cause == Cause.START_FAILED
        assert "could not be put back" in verdict.detail


class TestEnds:
    @pytest.mark.parametrize(
        ("code", "cause"), [(137, "killed_outside"), (143, "killed_outside"), (0, "exited_by_itself")]
    )
    def test_the_exit_code_tells_a_killing_from_an_end(self, code: int, cause: str) -> None:
        assert told(replace(UP, sight=sees(ended(code)))).cause == cause

    def test_docker_that_has_seen_no_lack_of_memory_is_not_taken_as_proof(self) -> None:
        assert "dmesg" in told(replace(UP, sight=sees(ended(137)))).step.text
        assert "dmesg" not in told(replace(UP, sight=sees(ended(143)))).step.text

    def test_137_for_lack_of_memory_is_no_killing(self) -> None:
        verdict = told(GAMES["out_of_memory"])

        assert "limit 512 MiB" in verdict.headline
        assert "03:08:09 UTC (4 min ago)" in verdict.headline
        assert verdict.step.verb == "restart"

    def test_an_end_long_after_a_lack_of_memory_is_an_end_by_itself(self) -> None:
        assert told(replace(UP, sight=sees(ended(3, oom_killed=True)))).cause == Cause.EXITED_BY_ITSELF

    def test_a_process_killed_for_memory_in_a_game_that_lives_on_is_a_warning(self) -> None:
        verdict = told(replace(UP, snapshot=snapshot("container_oom")))

        assert (verdict.cause, verdict.severity) == (Cause.OUT_OF_MEMORY, Severity.WARNING)

    def test_our_own_stop_is_no_killing(self) -> None:
        assert told(STOPPED).cause == Cause.STOPPED_AS_ASKED

    def test_an_adopted_game_that_ended_is_not_taken_for_stopped_on_purpose(self) -> None:
        adopted = replace(STOPPED, desired_by=None, last_asked=None, snapshot=snapshot("container_exited", exit_code=1))

        assert told(replace(adopted, sight=sees(ended(1)))).cause == Cause.EXITED_BY_ITSELF

    def test_the_black_box_of_a_former_container_is_not_offered_for_this_one(self) -> None:
        former = BlackBox(id=11, container_id=OTHER_ID)

        verdict = told(replace(UP, sight=sees(ended(1)), black_box=former))

        assert "rtm logs g-42" in verdict.step.text
        assert "black box 12" in told(GAMES["exited_by_itself"]).step.text


class TestLiving:
    def test_a_paused_container_is_unpaused(self) -> None:
        paused = replace(UP, sight=sees(container(ContainerState.PAUSED, addresses={"galaxy-net": "172.20.0.5"})))

        verdict = told(paused)

        assert (verdict.cause, verdict.step.command) == (Cause.DOCKER_UNHEALTHY, "docker unpause 3f4e0d7a9c1b")

    def test_probes_of_a_former_container_say_nothing_of_this_one(self) -> None:
        former = snapshot("probe_failed", container_id=OTHER_ID, probe_failures=3)

        assert told(replace(UP, snapshot=former)).cause == Cause.HEALTHY

    def test_another_docker_host_is_in_the_commands(self) -> None:
        rules = replace(UP.rules, docker_host="tcp://10.0.0.7:2375")

        verdict = told(replace(GAMES["foreign_container"], rules=rules))

        assert verdict.step.command.startswith("docker -H tcp://10.0.0.7:2375 rename")


class TestQuiet:
    def test_the_day_of_the_cleanup_is_told(self) -> None:
        assert told(STOPPED).automatic.at == ago(hours=1) + timedelta(days=30)

    def test_a_job_that_could_not_be_read_is_the_reason_why_a_game_never_started(self) -> None:
        verdict = told(replace(UNHEARD_OF, dead_letters=(LETTER,)))

        assert verdict.cause == Cause.NEVER_STARTED
        assert "image_ref is missing" in verdict.headline
        assert verdict.step.command == "python manage.py redrive_dead_letter 3"

    def test_a_removed_game_is_started_not_restarted(self) -> None:
        verbs = {verb: refusal(REMOVED, verb, image_ref=IMAGE) for verb in VERBS}

        assert told(REMOVED).step.verb == "start"
        assert [verb for verb, reason in verbs.items() if not reason] == ["start", "stop", "cleanup"]

"""What is said of a game that ended because Docker or its host went down."""

from dataclasses import replace

from operations.explain.diagnosis import Cause, Diagnosis, Severity
from operations.explain.facts import Facts
from operations.explain.rules.order import diagnose
from runtimes.containers.exit_causes import DockerStart
from tests.unit.operations.explain.game_facts import (
    GAMES,
    NOW,
    REMOVED,
    UP,
    after_failure,
    ago,
    container,
    docker_state_of,
    ended,
    failed,
    record,
)

# The container of these games ended 4 min ago, and Docker was started a little later.
RESTART = DockerStart(ago(minutes=3, seconds=50), up_until=ago(minutes=4, seconds=2))
PENDING = replace(UP, docker_state=docker_state_of(ended(0)), engine_starts=(RESTART,))


def diagnosis_of(facts: Facts) -> Diagnosis:
    return diagnose(facts, now=NOW)


def test_it_is_critical_and_says_how_all_games_come_back() -> None:
    diagnosis = diagnosis_of(GAMES["docker_restarted"])

    assert diagnosis.severity == Severity.CRITICAL
    assert "03:08:09 UTC (4 min ago)" in diagnosis.headline
    assert "live-restore" in diagnosis.detail
    assert (diagnosis.step.verb, diagnosis.step.command) == ("restart", "rtm restart --ended-by docker_restarted")
    assert diagnosis.automatic.text.startswith("Nothing")


def test_it_is_recognised_before_the_record_says_so() -> None:
    diagnosis = diagnosis_of(PENDING)

    assert diagnosis.cause == Cause.DOCKER_RESTARTED
    assert diagnosis.automatic.text.startswith("The record is corrected")


def test_a_game_that_ended_before_docker_went_down_ended_by_itself() -> None:
    later = DockerStart(ago(seconds=10), up_until=ago(seconds=20))

    assert diagnosis_of(replace(PENDING, engine_starts=(later,))).cause == Cause.EXITED_BY_ITSELF


def test_a_restart_that_failed_since_is_reported_first() -> None:
    facts = GAMES["docker_restarted"]
    failure = failed("image_pull_failed", "image x:1 could not be pulled: manifest unknown", op_kind="restart")

    assert diagnosis_of(after_failure(failure, facts)).cause == Cause.IMAGE_MISSING


def test_a_game_that_is_up_again_or_removed_is_not_said_to_have_ended() -> None:
    assert diagnosis_of(replace(UP, engine_starts=(RESTART,))).cause == Cause.HEALTHY
    assert diagnosis_of(replace(REMOVED, engine_starts=(RESTART,))).cause == Cause.REMOVED


def test_another_container_than_the_recorded_one_decides_nothing() -> None:
    other = record("running", current_container_id="f" * 64)

    assert diagnosis_of(replace(PENDING, record=other)).cause != Cause.DOCKER_RESTARTED


def test_a_container_that_docker_came_back_to_is_healthy() -> None:
    older = docker_state_of(container(started_at=ago(hours=3)))

    assert diagnosis_of(replace(UP, docker_state=older, engine_starts=(RESTART,))).cause == Cause.HEALTHY

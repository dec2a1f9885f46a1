"""Notes beside the cause, and causes in the container itself: its name, its configuration, its removal."""

from dataclasses import replace
from datetime import timedelta

import pytest

from operations.explain.diagnosis import Cause, Diagnosis, Note
from operations.explain.facts import Facts
from operations.explain.next_step import refusal
from operations.explain.rules.failed_operations import notes
from operations.explain.rules.order import diagnose
from operations.models import Operation
from runtimes.containers.base import ContainerState
from runtimes.containers.configuration import ConfigurationKind
from tests.unit.operations.explain.game_facts import (
    ALWAYS_RESTARTED,
    FOREIGN_CONTAINER,
    GAMES,
    IMAGE,
    LESS_MEMORY,
    NOW,
    OTHER_ID,
    REFUSED_CLEANUP,
    REFUSED_PATCH,
    REMOVED,
    SECOND_NETWORK,
    STOPPED,
    UP,
    after_failure,
    ago,
    container,
    docker_state_of,
    failed,
    record,
)


def diagnosis_of(facts: Facts) -> Diagnosis:
    return diagnose(facts, now=NOW)


def noted(facts: Facts) -> list[Note]:
    return list(notes(facts, diagnosis_of(facts), NOW))


class TestNotes:
    @pytest.mark.parametrize(
        ("refused", "kind"), [(REFUSED_CLEANUP, "operation_refused"), (REFUSED_PATCH, "image_refused")]
    )
    def test_a_game_that_runs_well_is_healthy_and_the_refusal_is_a_note(self, refused: Operation, kind: str) -> None:
        facts = after_failure(refused, UP)

        (note,) = noted(facts)

        assert diagnosis_of(facts).cause == Cause.HEALTHY
        assert (note.kind, note.operation_id, note.at) == (kind, refused.pk, refused.finished_at)
        assert refused.error_message in note.text

    @pytest.mark.parametrize(("facts", "cause"), [(STOPPED, "stopped_on_request"), (REMOVED, "removed")])
    def test_a_refused_patch_of_a_game_that_does_not_run_is_a_note(self, facts: Facts, cause: str) -> None:
        refused = after_failure(REFUSED_PATCH, facts)

        assert (diagnosis_of(refused).cause, [one.kind for one in noted(refused)]) == (cause, ["image_refused"])

    def test_a_failed_stop_of_a_game_that_runs_is_noted_as_failed(self) -> None:
        (note,) = noted(after_failure(failed("docker_unavailable", "no answer", op_kind="stop"), UP))

        assert note.kind == "operation_failed"

    @pytest.mark.parametrize("cause", ["crash_at_start", "patch_reverted", "operation_refused", "image_missing"])
    def test_what_the_verdict_says_is_not_said_again(self, cause: str) -> None:
        assert noted(GAMES[cause]) == []

    def test_a_failure_is_noted_for_a_day(self) -> None:
        assert noted(after_failure(failed("conflict", "busy", op_kind="stop", finished_at=ago(hours=25)), UP)) == []


class TestNames:
    def test_a_renamed_container_gets_its_name_back_by_a_start_that_leaves_the_game_running(self) -> None:
        diagnosis = diagnosis_of(GAMES["endpoint_dead"])

        assert "http://galaxy-game-g-42:8080 may lead nowhere" in diagnosis.headline
        assert (diagnosis.step.verb, diagnosis.step.arguments) == ("start", {"image_ref": IMAGE})
        assert diagnosis.automatic.at == NOW + timedelta(minutes=2)

    def test_while_another_container_holds_the_name_that_one_is_to_be_renamed_first(self) -> None:
        facts = replace(UP, docker_state=docker_state_of(container(name="keep"), foreign=FOREIGN_CONTAINER))

        diagnosis = diagnosis_of(facts)

        assert f"may lead to container {OTHER_ID[:12]}" in diagnosis.headline
        assert diagnosis.step.command == "docker rename 77aa11bb22cc galaxy-game-g-42-foreign"
        assert diagnosis.step.verb is None
        assert refusal(facts, "restart")

    def test_a_start_is_no_way_out_for_a_game_that_runs_while_a_restart_would_be_refused(self) -> None:
        lost = container(addresses={"bridge": "172.17.0.2"})

        step = diagnosis_of(replace(UP, docker_state=docker_state_of(lost, foreign=FOREIGN_CONTAINER))).step

        assert step.verb is None
        assert "foreign container 77aa11bb22cc has the name" in step.text

    def test_probes_that_fail_in_a_renamed_container_come_after_its_name(self) -> None:
        unhealthy = replace(GAMES["probe_failing"], docker_state=docker_state_of(container(name="keep")))

        assert diagnosis_of(unhealthy).cause == Cause.ENDPOINT_DEAD


class TestContainersWhoseHostNameAnotherGameHas:
    def test_a_container_that_is_never_adopted_needs_an_operator(self) -> None:
        unknown = replace(GAMES["never_started"], docker_state=docker_state_of(container()))

        diagnosis = diagnosis_of(replace(unknown, namesake="G-42"))

        assert diagnosis_of(unknown).cause == Cause.DRIFT_PENDING
        assert diagnosis.cause == Cause.STRAY_CONTAINER
        assert "It is not adopted, because game G-42 has a container" in diagnosis.headline
        assert diagnosis.automatic.text == "Nothing as long as game G-42 has a container"


class TestContainersThatDockerCannotRemove:
    @pytest.mark.parametrize("status", ["running", "stopped", "removed"])
    def test_a_dead_container_is_named_whatever_the_record_says(self, status: str) -> None:
        facts = replace(GAMES["container_not_removable"], record=record(status))

        diagnosis = diagnosis_of(facts)

        assert diagnosis.cause == Cause.CONTAINER_NOT_REMOVABLE
        assert diagnosis.step.command == "docker rm --force 3f4e0d7a9c1b"
        assert "3f4e0d7a9c1b" in refusal(facts, "start", image_ref=IMAGE)

    def test_the_words_of_docker_name_the_file_that_is_in_the_way(self) -> None:
        error = "unable to remove filesystem: unlinkat /var/lib/docker/containers/3f4e/keep: operation not permitted"
        facts = GAMES["container_not_removable"]

        diagnosis = diagnosis_of(replace(facts, docker_state=replace(facts.docker_state, engine_error=error)))

        assert error in diagnosis.detail

    def test_a_removal_is_given_a_minute_before_it_counts_as_stuck(self) -> None:
        just = container(ContainerState.REMOVING, finished_at=ago(seconds=5))
        long = container(ContainerState.REMOVING, finished_at=ago(minutes=5))

        causes = [diagnosis_of(replace(UP, docker_state=docker_state_of(one))).cause for one in (just, long)]

        assert causes == [Cause.DRIFT_PENDING, Cause.CONTAINER_NOT_REMOVABLE]


class TestConfiguration:
    def test_the_kinds_and_values_are_in_the_headline(self) -> None:
        headline = diagnosis_of(GAMES["configuration_drift"]).headline

        assert "(restart policy, limits)" in headline
        assert "restart policy: always instead of no; memory: 128 MiB instead of 512 MiB" in headline

    def test_a_restart_policy_and_a_second_network_are_taken_back_without_a_restart(self) -> None:
        policy = replace(UP, docker_state=docker_state_of(container(), configuration=(ALWAYS_RESTARTED,)))
        addresses = {"bridge": "172.17.0.2", "galaxy-net": "172.20.0.5"}
        network = replace(
            UP, docker_state=docker_state_of(container(addresses=addresses), configuration=(SECOND_NETWORK,))
        )

        commands = [diagnosis_of(facts).step.command for facts in (policy, network)]

        assert commands == [
            "docker update --restart=no 3f4e0d7a9c1b", "docker network disconnect bridge 3f4e0d7a9c1b",
        ]  # fmt: skip

    def test_everything_else_is_put_right_by_a_restart(self) -> None:
        assert diagnosis_of(GAMES["configuration_drift"]).step.verb == "restart"

    def test_what_a_volume_holds_is_saved_before_the_restart_that_removes_it(self) -> None:
        volume = replace(SECOND_NETWORK, kind=ConfigurationKind.MOUNTS, field="mounts", in_force="volume 1a2b on /data")

        diagnosis = diagnosis_of(replace(UP, docker_state=docker_state_of(container(), configuration=(volume,))))

        assert diagnosis.step.text.startswith("Copy the contents of its volumes")

    @pytest.mark.parametrize("cause", ["probe_failing", "docker_unhealthy", "patch_reverted", "wrong_network"])
    def test_what_is_more_important_comes_first(self, cause: str) -> None:
        facts = GAMES[cause]

        assert (
            diagnosis_of(replace(facts, docker_state=replace(facts.docker_state, configuration=(LESS_MEMORY,)))).cause
            == cause
        )

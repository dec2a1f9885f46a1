"""Games whose image reference moved, is gone or cannot be pulled: which image runs, and which one is proposed."""

from dataclasses import replace

import pytest

from operations.explain.diagnosis import Cause, Diagnosis
from operations.explain.facts import Facts
from operations.explain.next_step import refusal
from operations.explain.rules.failed_operations import notes
from operations.explain.rules.order import diagnose
from tests.unit.operations.explain.game_facts import (
    CONFIG,
    DIED,
    IMAGE,
    LOST,
    NOT_PULLED,
    NOW,
    OTHER_IMAGE,
    REMOVED,
    STOPPED,
    UP,
    after_failure,
    container,
    docker_state_of,
    ended,
    failed,
    operation,
    record,
)


def diagnosis_of(facts: Facts) -> Diagnosis:
    return diagnose(facts, now=NOW)


class TestImages:
    RAN = "sha256:" + "ab" * 32
    NEWER = "sha256:" + "cd" * 32

    def after_failed_pull(self) -> Facts:
        config = replace(CONFIG, image_pull_policy="always")
        docker_state = docker_state_of(container(image_id=self.RAN), has_image=False)
        refused = failed("image_pull_failed", NOT_PULLED, step="pull", op_kind="restart", image_ref="")
        return after_failure(refused, replace(UP, config=config, docker_state=docker_state))

    def test_after_a_restart_that_could_not_pull_the_game_runs_on_its_old_image(self) -> None:
        facts = self.after_failed_pull()

        (note,) = notes(facts, diagnosis_of(facts), NOW)

        assert f"The game still runs, on image {IMAGE} (sha256:abababababab)" in note.text

    def test_after_a_failed_pull_no_pull_is_promised_and_something_is_to_do(self) -> None:
        diagnosis = diagnosis_of(self.after_failed_pull())

        assert diagnosis.cause == Cause.HEALTHY
        assert "a restart pulls it" not in diagnosis.detail
        assert "the last restart could not pull it" in diagnosis.detail
        assert "Nothing to do" not in diagnosis.step.text
        assert diagnosis.step.command == f"docker pull {IMAGE}"

    @pytest.mark.parametrize("policy", ["if_missing", "never"])
    def test_a_stopped_game_whose_tag_is_gone_is_restarted_on_the_image_that_it_ran(self, policy: str) -> None:
        docker_state = docker_state_of(ended(143), has_image=False, has_recorded_image=True)
        game = record("stopped", image_id=self.RAN)

        diagnosis = diagnosis_of(
            replace(STOPPED, config=replace(CONFIG, image_pull_policy=policy), record=game, docker_state=docker_state)
        )

        assert diagnosis.cause == Cause.STOPPED_ON_REQUEST
        assert "sha256:abababababab, is still there; a restart uses it" in diagnosis.detail
        assert diagnosis.step.verb == "restart"

    def test_a_restart_without_container_uses_the_recorded_image_also_without_its_tag(self) -> None:
        config = replace(CONFIG, image_pull_policy="never")
        docker_state = docker_state_of(None, has_image=False, has_recorded_image=True)
        facts = replace(STOPPED, config=config, docker_state=docker_state)

        assert refusal(facts, "restart") == ""
        assert "pull policy is never" in refusal(facts, "start", image_ref=IMAGE)

    @pytest.mark.parametrize("step", ["settle", "start", "revert"])
    def test_after_a_patch_that_could_not_be_reverted_the_old_image_is_proposed(self, step: str) -> None:
        lost = failed("container_start_failed", DIED, step="revert", op_kind="patch", image_ref=OTHER_IMAGE)
        lost.steps.append({"name": step, "started_at": "2026-11-21T03:00:00Z", "duration_ms": 9, "error": DIED})

        diagnosis = diagnosis_of(after_failure(lost, replace(REMOVED, desired_by=operation())))

        assert diagnosis.cause == Cause.START_FAILED
        assert diagnosis.step.arguments == {"image_ref": IMAGE}
        assert IMAGE in diagnosis.step.text

    def test_a_stopped_game_whose_patch_was_reverted_stays_stopped(self) -> None:
        reverted = failed("container_start_failed", LOST, op_kind="patch", image_ref=OTHER_IMAGE)
        reverted.steps.append({"name": "revert", "started_at": "2026-11-21T03:00:00Z", "duration_ms": 9, "error": ""})

        assert diagnosis_of(after_failure(reverted, STOPPED)).cause == Cause.PATCH_REVERTED

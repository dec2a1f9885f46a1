"""A game that was refused for its state root or its state directory: only what then works is proposed."""

from dataclasses import replace

import pytest

from operations.explain.diagnosis import Cause, Diagnosis
from operations.explain.facts import Facts, RootState, StateDirectory
from operations.explain.next_step import refusal, refusals
from operations.explain.rules.order import diagnose
from tests.unit.operations.explain.game_facts import (
    GAMES,
    IMAGE,
    NO_DIRECTORY,
    NOW,
    REMOVED,
    STOPPED,
    after_failure,
    failed,
)


def diagnosis_of(facts: Facts) -> Diagnosis:
    return diagnose(facts, now=NOW)


@pytest.mark.parametrize(
    ("root", "problem", "advice"),
    [
        (RootState.RECORDED, "its state directory is missing", "--accept-empty-state"),
        (RootState.UNMARKED, "is not the recorded state root", "it has no marker file"),
        (RootState.FOREIGN, "is not the recorded state root", "has the id of another installation"),
        (RootState.UNREADABLE, "is not the recorded state root", "cannot be read"),
    ],
)
def test_a_refused_state_directory_names_the_mount_and_how_to_accept(
    root: RootState, problem: str, advice: str
) -> None:
    directory = StateDirectory(is_missing=True, root=root)

    diagnosis = diagnosis_of(replace(GAMES["state_directory_unusable"], state_directory=directory))

    assert diagnosis.cause == Cause.STATE_DIRECTORY_UNUSABLE
    assert problem in diagnosis.headline
    assert "mounted" in diagnosis.step.text
    assert advice in diagnosis.step.text
    assert ("manage.py accept_state_root" in diagnosis.step.text) == (root != RootState.RECORDED)
    assert ("--accept-empty-state" in diagnosis.step.text) == (root == RootState.RECORDED)
    assert diagnosis.step.command.startswith("findmnt -T /")
    assert diagnosis.step.verb is None


def test_a_game_whose_directory_is_usable_but_whose_root_is_not_the_recorded_one_is_not_started() -> None:
    directory = StateDirectory(is_known=True, free_bytes=10**9, root=RootState.UNMARKED)

    diagnosis = diagnosis_of(replace(GAMES["state_directory_unusable"], state_directory=directory))

    assert "is not the recorded state root" in diagnosis.headline
    assert "manage.py accept_state_root" in diagnosis.step.text
    assert diagnosis.step.verb is None


MISSING = StateDirectory(is_missing=True, root=RootState.RECORDED)


def without_directory(*, op_kind: str, status: str, root: RootState = RootState.RECORDED) -> Facts:
    """A game whose last operation was refused because its state directory is missing."""
    refused = failed("start_config_invalid", NO_DIRECTORY, step="prepare_state", op_kind=op_kind, image_ref="")
    facts = REMOVED if status == "removed" else STOPPED
    return after_failure(refused, facts, state_directory=replace(MISSING, root=root))


def test_a_plain_start_is_refused_while_the_state_directory_is_missing() -> None:
    facts = without_directory(op_kind="start", status="stopped")

    assert "the state directory is missing" in refusal(facts, "start", image_ref=facts.image_ref)
    assert diagnosis_of(facts).step.verb is None


@pytest.mark.parametrize(
    ("status", "possible"),
    [("stopped", {"start", "restart", "stop", "cleanup"}), ("removed", {"start", "stop", "cleanup"})],
)
def test_verbs_whose_caller_can_accept_an_empty_state_stay_possible(status: str, possible: set[str]) -> None:
    facts = without_directory(op_kind="restart", status=status)

    assert {verb for verb, reason in refusals(facts).items() if not reason} == possible


def test_a_wrong_state_root_refuses_every_verb_that_creates_a_container() -> None:
    facts = without_directory(op_kind="restart", status="stopped", root=RootState.FOREIGN)

    reasons = refusals(facts)

    assert {verb for verb, reason in reasons.items() if "not the recorded state root" in reason} == {
        "start", "restart", "patch",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("op_kind", "status", "command"),
    [
        ("restart", "stopped", "rtm restart g-42 --accept-empty-state"),
        ("start", "stopped", f"rtm start g-42 {IMAGE} --accept-empty-state"),
        ("start", "removed", f"rtm start g-42 {IMAGE} --accept-empty-state"),
        ("restart", "removed", f"rtm start g-42 {IMAGE} --accept-empty-state"),
    ],
)
def test_the_command_that_accepts_an_empty_state_has_the_verb_that_works(
    op_kind: str, status: str, command: str
) -> None:
    assert command in diagnosis_of(without_directory(op_kind=op_kind, status=status)).step.text

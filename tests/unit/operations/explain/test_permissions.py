"""Engines that end because of our settings: named with the setting, and only while the facts do not contradict it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.explain.diagnosis import Cause, Diagnosis
from operations.explain.facts import Facts, StateDirectory
from operations.explain.rules.order import diagnose
from operations.explain.rules.permissions import may_write, numbers
from tests.unit.operations.explain.game_facts import (
    DIED,
    IN_FORCE,
    LOST,
    NO_PERMISSION,
    NOW,
    OF_ROOT,
    OTHER_IMAGE,
    UP,
    after_failure,
    docker_state_of,
    ended,
    exit_report_with,
    failed,
)

ERASED = "sh: can't create /data/world: Read-only file system"


def crashed(line: str, *, directory: StateDirectory = OF_ROOT, **limits: Any) -> Facts:
    """A start whose engine died with this line."""
    one = failed("container_start_failed", DIED, step="settle")
    return after_failure(one, exit_report=exit_report_with("loading", line, **limits), state_directory=directory)


def gone(line: str, *, exit_code: int = 1, **limits: Any) -> Facts:
    """A game that ran and ended with this line, before anything is on record of it."""
    docker_state = docker_state_of(ended(exit_code), limits={**IN_FORCE, **limits}, last_lines=("turn 1", line))
    return replace(UP, docker_state=docker_state, state_directory=OF_ROOT)


def diagnosis_of(facts: Facts, **rules: Any) -> Diagnosis:
    return diagnose(replace(facts, config=replace(facts.config, **rules)), now=NOW)


class TestStateDirectory:
    @pytest.mark.parametrize("make", [crashed, gone])
    def test_a_user_that_may_not_write_to_it_is_reported_the_settings(self, make: Any) -> None:
        diagnosis = diagnosis_of(make(NO_PERMISSION))

        assert diagnosis.cause == Cause.PERMISSION_DENIED
        assert "runs as user 1000" in diagnosis.headline
        assert "belongs to 0:0 with mode 0750" in diagnosis.headline
        for setting in ("GAME_STATE_OWNER_UID=1000", "CONTAINER_USER", "GAME_STATE_DIR_MODE"):
            assert f"RTMANAGER_{setting}" in diagnosis.step.text
        assert diagnosis.step.verb is None

    def test_a_user_with_a_name_is_to_be_looked_up_in_the_image(self) -> None:
        text = diagnosis_of(crashed(NO_PERMISSION, user="node")).step.text

        assert "the number of user node in the image" in text

    def test_root_without_capabilities_has_no_rights_in_the_directory_of_another_user(self) -> None:
        directory = replace(OF_ROOT, owner_uid=1000, owner_gid=1000)

        diagnosis = diagnosis_of(crashed(NO_PERMISSION, directory=directory, user=""), game_state_owner_uid=1000)

        assert diagnosis.cause == Cause.PERMISSION_DENIED
        assert "root without capabilities" in diagnosis.headline

    def test_settings_that_allow_it_by_now_make_a_start_the_next_step(self) -> None:
        diagnosis = diagnosis_of(crashed(NO_PERMISSION), game_state_owner_uid=1000)

        assert (diagnosis.cause, diagnosis.step.verb) == (Cause.PERMISSION_DENIED, "start")

    def test_files_of_another_user_in_a_directory_that_is_right_are_to_be_given_over(self) -> None:
        directory = replace(OF_ROOT, owner_uid=1000, owner_gid=1000)

        diagnosis = diagnosis_of(crashed(NO_PERMISSION, directory=directory), game_state_owner_uid=1000)

        assert "chown -R 1000 /var/lib/rtmanager/games/g-42" in diagnosis.step.text

    @pytest.mark.parametrize("line", ["mkdir /var/lib/galaxy-game: permission denied", "sh: world: Permission denied"])
    def test_a_directory_that_the_user_may_write_to_contradicts_it(self, line: str) -> None:
        directory = replace(OF_ROOT, owner_uid=1000, owner_gid=1000)

        assert diagnosis_of(crashed(line, directory=directory)).cause == Cause.CRASH_AT_START

    def test_its_read_only_file_system_is_reported_unless_it_takes_writes(self) -> None:
        line = "open /var/lib/galaxy-game/world.db: read-only file system"

        broken = diagnosis_of(crashed(line, directory=replace(OF_ROOT, is_read_only=True)))

        assert broken.cause == Cause.READ_ONLY_FILESYSTEM
        assert "dmesg" in broken.step.text
        assert "READ_ONLY" not in broken.step.text
        assert diagnosis_of(crashed(line)).cause == Cause.CRASH_AT_START


class TestElsewhere:
    @pytest.mark.parametrize("make", [crashed, gone])
    def test_a_write_to_the_read_only_root_names_the_setting(self, make: Any) -> None:
        diagnosis = diagnosis_of(make(ERASED))

        assert diagnosis.cause == Cause.READ_ONLY_FILESYSTEM
        assert "tried to write /data/world outside of its state" in diagnosis.headline
        assert "RTMANAGER_CONTAINER_READ_ONLY=false" in diagnosis.step.text
        assert "/var/lib/galaxy-game" in diagnosis.step.text

    def test_a_root_that_was_writable_contradicts_it(self) -> None:
        assert diagnosis_of(crashed(ERASED, read_only=False)).cause == Cause.CRASH_AT_START
        assert diagnosis_of(gone(ERASED, read_only=False)).cause == Cause.EXITED_BY_ITSELF

    def test_a_setting_changed_since_makes_a_restart_the_next_step(self) -> None:
        assert diagnosis_of(gone(ERASED), container_read_only=False).step.verb == "restart"

    @pytest.mark.parametrize(
        "line", ["echo: write error: /proc/sys/vm/x: Read-only file system", "open /sys/x: permission denied"]
    )
    def test_what_no_container_may_write_is_not_blamed_on_a_setting(self, line: str) -> None:
        assert diagnosis_of(crashed(line)).cause == Cause.CRASH_AT_START

    def test_a_path_of_the_image_that_another_user_owns_names_who_decides_the_user(self) -> None:
        of_setting = diagnosis_of(crashed("open /srv/x: permission denied"), container_user="1000")
        of_image = diagnosis_of(crashed("open /srv/x: permission denied"))

        assert "RTMANAGER_CONTAINER_USER" in of_setting.step.text
        assert "the image (USER)" in of_image.step.text

    def test_nothing_in_tmp_may_be_executed(self) -> None:
        diagnosis = diagnosis_of(crashed("sh: /tmp/lib/engine: Permission denied"))

        assert diagnosis.cause == Cause.PERMISSION_DENIED
        assert "nothing in /tmp may be executed" in diagnosis.headline

    def test_a_change_of_user_needs_a_capability_that_games_do_not_have(self) -> None:
        diagnosis = diagnosis_of(crashed("su-exec: setgroups: Operation not permitted", user=""))

        assert diagnosis.cause == Cause.PERMISSION_DENIED
        assert "RTMANAGER_CONTAINER_USER" in diagnosis.step.text
        assert diagnosis_of(crashed("chown: /srv: Operation not permitted", cap_drop=[])).cause == Cause.CRASH_AT_START


class TestOtherEnds:
    @pytest.mark.parametrize(("exit_code", "cause"), [(0, "exited_by_itself"), (137, "killed_outside")])
    def test_an_end_without_an_error_and_a_killing_have_other_causes(self, exit_code: int, cause: str) -> None:
        assert diagnosis_of(gone(NO_PERMISSION, exit_code=exit_code)).cause == cause

    def test_a_patch_that_was_taken_back_for_it_says_so(self) -> None:
        lost = failed("container_start_failed", LOST, op_kind="patch", image_ref=OTHER_IMAGE)
        facts = after_failure(lost, UP, exit_report=exit_report_with(ERASED), state_directory=OF_ROOT)

        diagnosis = diagnosis_of(facts)

        assert diagnosis.cause == Cause.PATCH_REVERTED
        assert "RTMANAGER_CONTAINER_READ_ONLY" in diagnosis.detail


def owned(uid: int, gid: int, mode: int) -> StateDirectory:
    return StateDirectory(is_known=True, owner_uid=uid, owner_gid=gid, mode=mode)


@pytest.mark.parametrize(
    ("user", "directory", "expected"),
    [
        ("", owned(0, 0, 0o750), True),
        ("0:0", owned(0, 0, 0o550), False),
        ("", owned(1000, 1000, 0o750), False),
        ("", owned(1000, 0, 0o770), True),
        ("1000", owned(0, 0, 0o750), False),
        ("1000", owned(0, 0, 0o770), None),
        ("1000", owned(0, 0, 0o777), True),
        ("1000:1000", owned(0, 1000, 0o770), True),
        ("1000:1000", owned(0, 1000, 0o757), False),
        ("1000:5", owned(0, 1000, 0o773), True),
        ("node", owned(0, 0, 0o777), None),
        ("1000", StateDirectory(), None),
    ],
)
def test_the_permission_bits_decide_who_may_write(user: str, directory: StateDirectory, expected: object) -> None:
    assert may_write(user, directory) is expected


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 0o7777))
def test_exactly_one_class_of_bits_decides(uid: int, gid: int, owner: int, group: int, mode: int) -> None:
    shift = 6 if uid == owner else 3 if gid == group else 0

    assert may_write(f"{uid}:{gid}", owned(owner, group, mode)) is ((mode >> shift) & 3 == 3)


@given(st.text(max_size=20))
def test_any_user_is_read(user: str) -> None:
    assert all(number is None or number >= 0 for number in numbers(user))

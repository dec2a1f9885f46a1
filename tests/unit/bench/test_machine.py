"""The load of the machine and the versions are read correctly."""

import pytest

from bench.testbed.machine import busy_share, commit, load, version_in

# user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice
_BEFORE = [100, 10, 50, 1000, 20, 5, 5, 10, 7, 0]


def test_the_load_is_the_share_of_the_time_that_was_not_idle() -> None:
    after = [one + more for one, more in zip(_BEFORE, [20, 0, 5, 70, 5, 0, 0, 0, 20, 0], strict=True)]

    assert busy_share(_BEFORE, after) == pytest.approx(0.25)


def test_time_that_was_stolen_by_other_machines_is_load() -> None:
    after = [one + more for one, more in zip(_BEFORE, [0, 0, 0, 50, 0, 0, 0, 50, 0, 0], strict=True)]

    assert busy_share(_BEFORE, after) == pytest.approx(0.5)


def test_no_time_is_no_load() -> None:
    assert busy_share(_BEFORE, _BEFORE) == 0.0


def test_this_machine_has_a_load() -> None:
    assert 0 <= load(seconds=0.01) <= 1


@pytest.mark.parametrize(
    ("text", "version"),
    [("Docker version 20.10.24+dfsg1, build 297e128", "20.10.24"), ("postgres (PostgreSQL) 18.6", "18.6"), ("", "?")],
)
def test_a_version_is_the_first_number_with_a_point(text: str, version: str) -> None:
    assert version_in(text) == version


def test_the_commit_of_this_clone_is_known() -> None:
    assert commit()

import pytest

from tasks.stall_detector import CHECKS, StallDetector


def first_stall(*passes: object) -> int | None:
    """Return the number of the first check that reports a stall."""
    detector = StallDetector()
    return next((number for number, current in enumerate(passes, start=1) if detector.is_stalled(current)), None)


def test_work_without_progress_is_stalled_after_enough_checks() -> None:
    assert first_stall(*["pass 7"] * 10) == CHECKS + 1


@pytest.mark.parametrize(
    "passes",
    [["pass 1"] * CHECKS + ["pass 2"] * CHECKS, ([*["pass 1"] * CHECKS, None]) * 3, [None] * 10, range(10)],
    ids=["progress in time", "end in time", "nothing to do", "progress at every check"],
)
def test_work_with_progress_is_not_stalled(passes: list[object]) -> None:
    assert first_stall(*passes) is None


def test_only_checks_count_not_the_clock() -> None:
    # However long the process was suspended after the first check, it has run one check.
    detector = StallDetector()
    detector.is_stalled("pass 1")

    assert not detector.is_stalled("pass 1")

import pytest

from tasks.patience import LOOKS, Patience


def first_end(*looks: object) -> int | None:
    """The number of the look at which patience was over."""
    patience = Patience()
    return next((number for number, seen in enumerate(looks, start=1) if patience.is_over(seen)), None)


def test_the_same_thing_seen_at_every_look_is_stuck_after_as_many_looks_as_it_had_time_for() -> None:
    assert first_end(*["pass 7"] * 10) == LOOKS + 1


@pytest.mark.parametrize(
    "looks",
    [["pass 1"] * LOOKS + ["pass 2"] * LOOKS, ([*["pass 1"] * LOOKS, None]) * 3, [None] * 10, range(10)],
    ids=["progress in time", "an end in time", "nothing to do", "progress at every look"],
)
def test_what_goes_on_is_not_stuck(looks: list[object]) -> None:
    assert first_end(*looks) is None


def test_the_clock_does_not_matter_only_looks_do() -> None:
    # However long the process was frozen after the first look: it has looked once.
    patience = Patience()
    patience.is_over("pass 1")

    assert not patience.is_over("pass 1")

"""Quantiles, bootstrapped intervals and verdicts."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report import figure as module
from bench.report.figure import Estimate, Figure, Goal, Rounds, Verdict, estimate, flat, quantile

_SAMPLES = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=50)


def rounds_of(*values: float) -> Rounds:
    return tuple((value,) for value in values)


def test_the_median_is_the_middle_sample() -> None:
    assert quantile([9, 1, 5], 0.5) == 5


def test_a_quantile_between_two_samples_lies_on_the_line_between_them() -> None:
    samples = [10, 20, 30, 40, 50]

    assert [quantile(samples, share) for share in (0.25, 0.75)] == [20, 40]
    assert quantile(samples, 0.9) == pytest.approx(46)


def test_a_single_sample_is_every_quantile() -> None:
    assert {quantile([7], share) for share in (0.0, 0.5, 0.99, 1.0)} == {7}


@given(_SAMPLES)
def test_quantiles_are_in_order_and_within_the_samples(samples: list[float]) -> None:
    found = [quantile(samples, share) for share in (0.25, 0.5, 0.75, 0.95, 0.99)]

    assert found == sorted(found)
    assert min(samples) <= found[0]
    assert found[-1] <= max(samples)


def test_a_ratio_divides_the_quantiles_of_all_rounds_together() -> None:
    series = {"ours": ((2.0, 4.0), (6.0,)), "theirs": ((1.0,), (3.0, 2.0))}

    assert estimate(Goal("", ("ours",), ("theirs",)), series).value == 2.0
    assert estimate(Goal("", ("ours",), share=1.0), series).value == 6.0


def test_a_gain_is_a_ratio_of_ratios_with_a_divisor() -> None:
    series = {"four": rounds_of(8, 8), "one": rounds_of(2, 2), "sdk four": rounds_of(3, 3), "sdk one": rounds_of(1, 1)}
    goal = Goal("", ("four", "sdk one"), ("one", "sdk four"), divisor=2)

    assert estimate(goal, series).value == pytest.approx((8 / 2) / (3 / 1) / 2)


def test_the_same_samples_give_the_same_interval() -> None:
    series = {"ours": rounds_of(*range(1, 20)), "theirs": rounds_of(*range(2, 21))}
    goal = Goal("", ("ours",), ("theirs",))

    assert estimate(goal, series) == estimate(goal, series)


def test_noise_that_both_share_in_a_round_cancels_out() -> None:
    noise = [1.0, 5.0, 2.0, 9.0, 3.0, 7.0, 4.0, 8.0, 6.0]
    series = {"ours": rounds_of(*(2 * one for one in noise)), "theirs": rounds_of(*noise)}

    found = estimate(Goal("", ("ours",), ("theirs",)), series)

    assert (found.low, found.value, found.high) == (2, 2, 2)


def test_an_unpaired_comparison_of_the_same_noise_has_a_wide_interval() -> None:
    noise = [1.0, 5.0, 2.0, 9.0, 3.0, 7.0, 4.0, 8.0, 6.0]
    series = {"ours": rounds_of(*(2 * one for one in noise)), "theirs": rounds_of(*reversed(noise))}

    found = estimate(Goal("", ("ours",), ("theirs",)), series)

    assert found.low < 1.5
    assert found.high > 2.5


def test_the_interval_holds_the_true_ratio_in_about_95_of_100_experiments(monkeypatch: pytest.MonkeyPatch) -> None:
    # A smaller number is enough here, and keeps the test fast.
    monkeypatch.setattr(module, "RESAMPLES", 200)
    chance = random.Random(7)  # noqa: S311 (seeded, so that the test is deterministic)
    goal = Goal("", ("ours",), ("theirs",))

    def experiment() -> Estimate:
        speeds = [chance.lognormvariate(5, 0.2) for _round in range(12)]
        return estimate(
            goal,
            {
                "ours": tuple(tuple(1.04 * one * chance.lognormvariate(0, 0.1) for _ in range(9)) for one in speeds),
                "theirs": tuple(tuple(one * chance.lognormvariate(0, 0.1) for _ in range(9)) for one in speeds),
            },
        )

    found = [experiment() for _ in range(100)]

    assert 90 <= sum(one.low <= 1.04 <= one.high for one in found) <= 99


@pytest.mark.parametrize(("low", "high", "at_most", "verdict"), [
    (1.00, 1.02, True, Verdict.MET), (1.00, 1.03, True, Verdict.MET), (1.02, 1.04, True, Verdict.UNDECIDED),
    (1.04, 1.05, True, Verdict.MISSED), (1.03, 1.05, True, Verdict.MISSED), (1.03, 1.03, True, Verdict.MET),
    (1.00, 1.02, False, Verdict.MISSED), (1.02, 1.04, False, Verdict.UNDECIDED), (1.04, 1.05, False, Verdict.MET),
    (1.03, 1.03, False, Verdict.MET),
])  # fmt: skip
def test_a_goal_is_decided_if_the_whole_interval_is_on_one_side(
    low: float, high: float, *, at_most: bool, verdict: Verdict
) -> None:
    goal = Goal("so fast", ("ours",), limit=1.03, at_most=at_most)

    assert Estimate(goal, (low + high) / 2, low, high, rounds=8).verdict is verdict


def test_too_few_rounds_decide_nothing() -> None:
    goal = Goal("so fast", ("ours",), limit=1.03)

    assert Estimate(goal, 0.5, 0.5, 0.5, rounds=7).verdict is Verdict.UNDECIDED


def test_a_comparison_without_a_limit_has_no_verdict() -> None:
    assert Estimate(Goal("as fast", ("ours",)), 1, 1, 1, rounds=8).verdict is Verdict.NO_GOAL


def test_a_figure_without_a_decision_needs_more_rounds() -> None:
    goal = Goal("so fast", ("ours",), limit=5)

    assert Figure("starts", "A start", "ms", {"ours": rounds_of(1, 9, 1, 9, 1, 9, 1, 9, 1, 9)}, (goal,)).is_undecided
    assert not Figure("starts", "A start", "ms", {"ours": rounds_of(*[1] * 8)}, (goal,)).is_undecided


def test_a_figure_is_read_as_it_was_written() -> None:
    goal = Goal("median", ("ours",), ("theirs",), 1.03)
    series: dict[str, Rounds] = {"ours": ((1.0, 2.0), (3.0,)), "theirs": ((1.5,), ())}
    written = Figure("starts", "A start", "ms", series, (goal,), ("One at a time.",), plot="cdf")

    assert Figure.from_json(written.as_json()) == written
    assert flat(written.series["ours"]) == [1, 2, 3]

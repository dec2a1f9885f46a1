"""Medians, quantiles and goals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figure import Figure, Goal, Series

_SAMPLES = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=50)


def test_the_median_is_the_middle_sample() -> None:
    assert Series.of("ours", "ms", [9, 1, 5]).median == 5


def test_a_quantile_between_two_samples_lies_on_the_line_between_them() -> None:
    series = Series.of("ours", "ms", [10, 20, 30, 40, 50])

    assert (series.low_quartile, series.high_quartile) == (20, 40)
    assert series.quantile(0.9) == pytest.approx(46)


def test_a_single_sample_is_every_quantile() -> None:
    series = Series.of("ours", "ms", [7])

    assert (series.median, series.p95, series.p99) == (7, 7, 7)


@given(_SAMPLES)
def test_quantiles_are_in_order_and_within_the_samples(samples: list[float]) -> None:
    series = Series.of("ours", "ms", samples)

    found = [series.low_quartile, series.high_quartile, series.p95, series.p99]

    assert found == sorted(found)
    assert min(samples) <= found[0]
    assert found[-1] <= max(samples)


def test_nothing_measured_is_no_series() -> None:
    with pytest.raises(ValueError, match="nothing was measured of ours"):
        Series.of("ours", "ms", [])


@pytest.mark.parametrize(("measured", "at_most", "is_met"), [
    (1.04, True, True), (1.05, True, True), (1.06, True, False),
    (1.04, False, False), (1.05, False, True), (1.06, False, True),
])  # fmt: skip
def test_a_goal_is_met_on_its_own_side_of_the_limit(measured: float, *, at_most: bool, is_met: bool) -> None:
    assert Goal("so fast", measured, 1.05, at_most=at_most).is_met == is_met


def test_a_figure_finds_its_series_by_name() -> None:
    ours = Series.of("ours", "ms", [1])
    figure = Figure("starts", "A start", (ours,))

    assert figure.named("ours") is ours
    with pytest.raises(KeyError):
        figure.named("theirs")

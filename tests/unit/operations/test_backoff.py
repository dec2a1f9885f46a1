from hypothesis import given
from hypothesis import strategies as st

from operations.runner import backoff_seconds

LONGEST_SECONDS = 30.0


def full_delay(retries: int) -> float:
    return float(min(0.5 * 2**retries, LONGEST_SECONDS))


@given(st.integers(0, 10_000))
def test_a_delay_is_never_zero_and_never_beyond_the_bound(retries: int) -> None:
    assert 0 < backoff_seconds(retries) <= LONGEST_SECONDS


@given(st.integers(0, 40))
def test_jitter_takes_off_a_quarter_at_most(retries: int) -> None:
    assert 0.75 * full_delay(retries) <= backoff_seconds(retries) <= full_delay(retries)


@given(st.integers(0, 40))
def test_the_next_delay_is_expected_to_be_no_shorter(retries: int) -> None:
    most, next_least = backoff_seconds(retries), 0.75 * full_delay(retries + 1)

    # Doubling outruns the jitter until the bound is reached; from there on the range stays the same.
    assert most <= next_least or full_delay(retries + 1) == LONGEST_SECONDS


def test_two_operations_that_fail_together_do_not_come_back_together() -> None:
    assert len({backoff_seconds(5) for _ in range(20)}) > 1

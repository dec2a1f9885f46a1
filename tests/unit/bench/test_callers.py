"""Calls are sorted into the third of the time in which they began."""

from bench.testbed.caller import thirds


def test_calls_go_into_the_third_in_which_they_began() -> None:
    calls = [(0.0, 1.0), (4.9, 2.0), (5.0, 3.0), (10.0, 4.0), (14.9, 5.0)]

    assert thirds(calls, seconds=15.0) == [[1.0, 2.0], [3.0], [4.0, 5.0]]


def test_a_call_that_began_at_the_very_end_belongs_to_the_last_third() -> None:
    assert thirds([(15.0, 1.0)], seconds=15.0) == [[], [], [1.0]]

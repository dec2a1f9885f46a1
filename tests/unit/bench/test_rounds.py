"""Every contestant has its turn in every round, and none always follows the same one."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise, permutations

import pytest

from bench.rounds import every, interleave, turn


def test_each_begins_as_often_as_the_others() -> None:
    firsts = Counter(turn("abc", number)[0] for number in range(6))

    assert firsts == {"a": 2, "b": 2, "c": 2}


@pytest.mark.parametrize(("names", "rounds"), [("ab", 2), ("abc", 6), ("abcd", 4), ("abcde", 10)])
def test_each_comes_right_after_each_other_one_equally_often(names: str, rounds: int) -> None:
    after = Counter(pair for number in range(rounds) for pair in pairwise(turn(names, number)))

    assert set(after) == set(permutations(names, 2))
    assert len(set(after.values())) == 1


def test_no_order_of_nothing_is_empty() -> None:
    assert turn([], 3) == []


def test_samples_are_kept_by_name_in_the_order_of_the_rounds() -> None:
    calls: list[str] = []

    def contestant(name: str) -> Callable[[], float]:
        def measure() -> float:
            calls.append(name)
            return float(len(calls))

        return measure

    found = interleave({"a": contestant("a"), "b": contestant("b")}, rounds=2)

    assert calls == ["a", "b", "b", "a"]
    assert found == {"a": (1, 4), "b": (2, 3)}


def test_a_contestant_may_give_several_samples_at_a_time() -> None:
    assert interleave({"a": lambda: [1.0, 2.0]}, rounds=2) == {"a": (1, 2, 1, 2)}


def test_who_takes_part_in_each_third_round_sits_out_the_others() -> None:
    found = interleave({"a": lambda: 1.0, "b": every(3, lambda: 2.0)}, rounds=7)

    assert found == {"a": (1.0,) * 7, "b": (2.0,) * 3}


def test_every_turn_is_announced() -> None:
    reported: list[str] = []

    interleave({"a": lambda: 1.0, "b": lambda: 1.0}, rounds=2, progress=reported.append)

    assert reported == ["round 1 of 2: a", "round 1 of 2: b", "round 2 of 2: b", "round 2 of 2: a"]


def test_what_a_contestant_raises_ends_everything() -> None:
    def broken() -> float:
        message = "the engine is gone"
        raise OSError(message)

    with pytest.raises(OSError, match="the engine is gone"):
        interleave({"a": broken}, rounds=1)

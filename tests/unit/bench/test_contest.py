"""Every contestant has its turn in every round; extra rounds follow one decision and end with the extra time."""

from collections import Counter
from collections.abc import Callable
from itertools import count, pairwise, permutations

import pytest

from bench.contest import Contest, Contestant, ExtraTime, measure, turn
from bench.plans import Plan
from bench.report.figure import Figure, Goal

_GOAL = Goal("so fast", ("a",), limit=5)
_PLAN = Plan(rounds=8, each=1, extra=4, minutes=1, warm_up=False)


def played(
    contestants: dict[str, Contestant],
    plan: Plan = _PLAN,
    *,
    extra: ExtraTime | None = None,
    goals: tuple[Goal, ...] = (),
    every: dict[str, int] | None = None,
) -> Figure:
    contest = Contest("A start", "ms", contestants, goals, every=every or {})
    return measure("starts", contest, plan, extra=extra or ExtraTime(60), progress=lambda _text: None)


def alternating(*values: float) -> Callable[[], float]:
    numbers = count()
    return lambda: values[next(numbers) % len(values)]


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


def test_samples_are_kept_by_round_in_the_order_of_the_turns() -> None:
    calls: list[str] = []

    def contestant(name: str) -> Callable[[], float]:
        def take_part() -> float:
            calls.append(name)
            return float(len(calls))

        return take_part

    found = played({"a": contestant("a"), "b": contestant("b")}, Plan(rounds=2, each=1, extra=0, minutes=1))

    # The first round is a warm-up, which does not count.
    assert calls == ["a", "b", "a", "b", "b", "a"]
    assert found.series == {"a": ((3,), (6,)), "b": ((4,), (5,))}


def test_a_contestant_may_give_several_samples_of_several_series() -> None:
    plan = Plan(rounds=1, each=1, extra=0, minutes=1, warm_up=False)

    found = played({"a": lambda: {"a": [1.0, 2.0], "inside": [0.5]}, "b": lambda: [3.0, 4.0]}, plan)

    assert found.series == {"a": ((1, 2),), "inside": ((0.5,),), "b": ((3, 4),)}


def test_a_contestant_of_each_third_round_has_empty_rounds_between() -> None:
    found = played({"a": lambda: 1.0, "b": lambda: 2.0}, every={"b": 3})

    assert found.series["b"] == ((2,), (), (), (2,), (), (), (2,), ())


def test_a_decided_figure_has_the_rounds_of_its_plan() -> None:
    assert played({"a": lambda: 1.0}, goals=(_GOAL,)).rounds == 8


def test_an_undecided_figure_has_all_extra_rounds_and_says_so() -> None:
    found = played({"a": alternating(1, 9)}, goals=(_GOAL,))

    assert found.rounds == 12
    assert found.notes == ("Undecided after 8 rounds; 4 of 4 extra rounds followed.",)


def test_what_extra_rounds_show_does_not_end_them() -> None:
    # Undecided after eight rounds; the next ones would decide it.
    values = iter([1.0, 9.0] * 4 + [1.0] * 100)

    assert played({"a": lambda: next(values)}, goals=(_GOAL,)).rounds == 12


def test_extra_rounds_end_with_the_extra_time_of_the_run() -> None:
    seconds = count()
    extra = ExtraTime(left=2.5, clock=lambda: float(next(seconds)))

    found = played({"a": alternating(1, 9)}, extra=extra, goals=(_GOAL,))

    assert found.rounds == 10
    assert extra.left == 0.0


def test_a_figure_without_extra_time_has_no_extra_round() -> None:
    assert played({"a": alternating(1, 9)}, extra=ExtraTime(0), goals=(_GOAL,)).rounds == 8


def test_an_error_of_a_contestant_ends_the_contest() -> None:
    def broken() -> float:
        raise OSError("the engine is gone")

    with pytest.raises(OSError, match="the engine is gone"):
        played({"a": broken})

"""The result of a measure: samples by round, and what follows from them: quantiles, intervals and verdicts. Pure.

The bootstrap is the standard library's ``random``: the unit that is drawn is a round with the samples of all
contestants, so pairs stay together. ``scipy.stats.bootstrap`` draws single samples, and the tests of this module run
where the packages of the benchmark are not installed.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from math import prod
from typing import Any, Literal, Self

CONFIDENCE = 0.95
RESAMPLES = 2000
# An interval from fewer rounds is too narrow: it decides nothing.
LEAST_ROUNDS = 8
_SEED = 15

Chart = Literal["bars", "cdf"]
# Samples of one series, by round; a round in which it did not take part is empty.
Rounds = tuple[tuple[float, ...], ...]


class Verdict(StrEnum):
    """Where the interval is: on the right side of the limit, on the wrong side, or on both."""

    MET = "met"
    MISSED = "missed"
    UNDECIDED = "undecided"
    NO_GOAL = "no goal"


@dataclass(frozen=True, slots=True)
class Goal:
    """A quantile of one series, relative to that of others, and its limit (None: only reported).

    The value is the product of the quantiles of ``over``, divided by those of ``under`` and by ``divisor``.
    """

    text: str
    over: tuple[str, ...]
    under: tuple[str, ...] = ()
    limit: float | None = None
    at_most: bool = True
    share: float = 0.5
    divisor: float = 1.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """The value of a goal with its interval (95 %), from this number of rounds."""

    goal: Goal
    value: float
    low: float
    high: float
    rounds: int

    @property
    def verdict(self) -> Verdict:
        """An interval that touches the limit has not crossed it."""
        limit = self.goal.limit
        if limit is None:
            return Verdict.NO_GOAL
        if self.rounds < LEAST_ROUNDS:
            return Verdict.UNDECIDED
        is_below, is_above = self.high <= limit, self.low >= limit
        if is_below == is_above:
            # On both sides, or exactly on the limit, which is allowed.
            return Verdict.MET if is_below else Verdict.UNDECIDED
        return Verdict.MET if is_below == self.goal.at_most else Verdict.MISSED


@dataclass(frozen=True)
class Figure:
    """One part of the report. ``key`` names it in files; ``notes`` are sentences for the page."""

    key: str
    title: str
    unit: str
    series: Mapping[str, Rounds]
    goals: tuple[Goal, ...] = ()
    notes: tuple[str, ...] = ()
    plot: Chart = "bars"

    @cached_property
    def estimates(self) -> tuple[Estimate, ...]:
        """One for each goal. The same samples give the same intervals."""
        return tuple(estimate(goal, self.series) for goal in self.goals)

    @property
    def is_undecided(self) -> bool:
        """Whether more rounds could decide a goal."""
        return any(one.verdict is Verdict.UNDECIDED for one in self.estimates)

    @property
    def rounds(self) -> int:
        """The number of rounds that were played."""
        return max(map(len, self.series.values()))

    def samples(self, name: str) -> list[float]:
        """All samples of a series. Raises KeyError if there is none of that name."""
        return flat(self.series[name])

    def as_json(self) -> dict[str, Any]:
        """The form of the results file."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The inverse of ``as_json``."""
        goals = [{**goal, "over": tuple(goal["over"]), "under": tuple(goal["under"])} for goal in stored["goals"]]
        return cls(
            **{
                **stored,
                "series": {name: tuple(map(tuple, rounds)) for name, rounds in stored["series"].items()},
                "goals": tuple(Goal(**goal) for goal in goals),
                "notes": tuple(stored["notes"]),
            }
        )


def estimate(goal: Goal, series: Mapping[str, Rounds]) -> Estimate:
    """Compute the value and its bootstrapped interval. Raises KeyError if a series is missing."""
    names = (*goal.over, *goal.under)
    rounds = list(zip(*(series[name] for name in names), strict=True))
    chance = random.Random(_SEED)  # noqa: S311 (statistics, not security)
    drawn = sorted(_value(goal, chance.choices(rounds, k=len(rounds))) for _ in range(RESAMPLES))
    tail = (1 - CONFIDENCE) / 2
    return Estimate(goal, _value(goal, rounds), quantile(drawn, tail), quantile(drawn, 1 - tail), len(rounds))


def quantile(samples: Sequence[float], share: float) -> float:
    """The value that ``share`` (0 to 1) of the samples do not exceed, interpolated. IndexError if there are none."""
    ordered = sorted(samples)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def flat(rounds: Iterable[Iterable[float]]) -> list[float]:
    """The samples of all rounds."""
    return [sample for one in rounds for sample in one]


def _value(goal: Goal, rounds: Sequence[tuple[tuple[float, ...], ...]]) -> float:
    found = [quantile(flat(samples), goal.share) for samples in zip(*rounds, strict=True)]
    over = len(goal.over)
    return prod(found[:over]) / prod(found[over:]) / goal.divisor

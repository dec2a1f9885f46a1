"""The rounds of a figure: in each round every contestant is measured once, in an order that favours none of them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.plans import Plan
from bench.report.figure import Chart, Figure, Goal, Rounds
from deploy.local.system.errors import LocalError

Samples = Mapping[str, Iterable[float]]
# Returns its samples of one round; a mapping if they belong to several series.
Contestant = Callable[[], Samples | Iterable[float] | float]
_DIGITS = 6


class NotMeasurableError(LocalError):
    """A figure cannot be measured on this machine or engine. The message says why."""


@dataclass(slots=True)
class Contest:
    """What a measure compares. A contestant may add to ``notes`` until the last round.

    ``every``: a contestant that takes part only in each such round, because it takes long and no goal depends on it.
    """

    title: str
    unit: str
    contestants: Mapping[str, Contestant]
    goals: tuple[Goal, ...] = ()
    notes: list[str] = field(default_factory=list)
    plot: Chart = "bars"
    every: Mapping[str, int] = field(default_factory=dict)

    def play(self, number: int) -> dict[str, tuple[float, ...]]:
        """Measure round ``number`` (from 0). An error of a contestant ends the contest."""
        found: dict[str, tuple[float, ...]] = {}
        for name in turn(self.contestants, number):
            if number % self.every.get(name, 1) == 0:
                found |= _by_series(name, self.contestants[name]())
        return found

    def figure(self, key: str, rounds: Sequence[Mapping[str, tuple[float, ...]]], *, notes: Iterable[str]) -> Figure:
        """The figure of all these rounds."""
        names = dict.fromkeys(name for one in rounds for name in one)
        series: dict[str, Rounds] = {name: tuple(one.get(name, ()) for one in rounds) for name in names}
        return Figure(key, self.title, self.unit, series, self.goals, (*self.notes, *notes), self.plot)


@dataclass(slots=True)
class ExtraTime:
    """The seconds that are left for the extra rounds of all figures of one run."""

    left: float
    clock: Callable[[], float] = time.monotonic


def measure(
    key: str,
    contest: Contest,
    plan: Plan,
    *,
    extra: ExtraTime,
    progress: Callable[[str], None],
) -> Figure:
    """Play the rounds of the plan, and its extra rounds if a goal is undecided. Reduces the extra time by their length.

    There is one decision, after the planned rounds; an extra round never depends on what another extra round shows.
    """
    if plan.warm_up:
        progress("warm-up")
        contest.play(0)
    rounds: list[dict[str, tuple[float, ...]]] = []

    def play_until(last: int, *, ends: float | None = None) -> None:
        for number in range(len(rounds), last):
            if ends is not None and extra.clock() >= ends:
                return
            progress(f"round {number + 1} of {last}")
            rounds.append(contest.play(number))

    play_until(plan.rounds)
    figure = contest.figure(key, rounds, notes=())
    if not plan.extra or not figure.is_undecided:
        return figure
    began = extra.clock()
    play_until(plan.rounds + plan.extra, ends=began + extra.left)
    extra.left = max(0.0, extra.left - (extra.clock() - began))
    note = f"Undecided after {plan.rounds} rounds; {len(rounds) - plan.rounds} of {plan.extra} extra rounds followed."
    return contest.figure(key, rounds, notes=[note])


def turn(names: Iterable[str], number: int) -> list[str]:
    """The order of round ``number``: each begins as often as the others, and follows each other one equally often.

    It is a Williams design (E. J. Williams, 1949): balanced after as many rounds as there are names, or twice as many
    if their number is odd. So what one contestant leaves behind affects all others equally.
    """
    order = list(names)
    size = len(order)
    # 0, 1, n - 1, 2, n - 2 ...: each difference between neighbours comes once.
    zigzag = [(place + 1) // 2 if place % 2 else -(place // 2) for place in range(size)]
    row = [order[(step + number) % size] for step in zigzag]
    is_mirrored = size % 2 == 1 and number // max(size, 1) % 2 == 1
    return row[::-1] if is_mirrored else row


def _by_series(name: str, found: Samples | Iterable[float] | float) -> dict[str, tuple[float, ...]]:
    series = found if isinstance(found, Mapping) else {name: [found] if isinstance(found, int | float) else found}
    # Rounded here, so that a figure equals what is read again from its file.
    return {one: tuple(float(f"{sample:.{_DIGITS}g}") for sample in samples) for one, samples in series.items()}

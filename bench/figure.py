"""The result of a measure: samples, goals and notes. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Literal, Self

Chart = Literal["bars", "lines", "cdf"]


@dataclass(frozen=True, slots=True)
class Series:
    """The samples of one contestant, in ``unit``; never empty."""

    name: str
    unit: str
    samples: tuple[float, ...]

    @classmethod
    def of(cls, name: str, unit: str, samples: Iterable[float]) -> Self:
        """From whatever can be gone through once. Raises ValueError when there is nothing in it."""
        found = tuple(float(sample) for sample in samples)
        if not found:
            message = f"nothing was measured of {name}"
            raise ValueError(message)
        return cls(name, unit, found)

    @property
    def median(self) -> float:
        """The middle."""
        return median(self.samples)

    @property
    def p95(self) -> float:
        """What 95 of 100 do not exceed."""
        return self.quantile(0.95)

    @property
    def p99(self) -> float:
        """What 99 of 100 do not exceed."""
        return self.quantile(0.99)

    @property
    def low_quartile(self) -> float:
        """What a quarter does not exceed."""
        return self.quantile(0.25)

    @property
    def high_quartile(self) -> float:
        """What three quarters do not exceed."""
        return self.quantile(0.75)

    def quantile(self, share: float) -> float:
        """What ``share`` of the samples (0 to 1) do not exceed; between two samples on the straight line."""
        ordered = sorted(self.samples)
        place = share * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True, slots=True)
class Goal:
    """One promise: ``measured`` against ``limit``, which it may not exceed, or not fall short of."""

    text: str
    measured: float
    limit: float
    at_most: bool = True

    @property
    def is_met(self) -> bool:
        """Whether it was kept."""
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """One part of the report. ``key`` names it in files; ``notes`` are sentences that stand below its table."""

    key: str
    title: str
    series: tuple[Series, ...]
    goals: tuple[Goal, ...] = ()
    notes: tuple[str, ...] = ()
    plot: Chart = "bars"

    def named(self, name: str) -> Series:
        """One series. Raises KeyError when there is none of that name."""
        for series in self.series:
            if series.name == name:
                return series
        raise KeyError(name)

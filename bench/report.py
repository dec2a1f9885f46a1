"""Figures as files and as text: results as JSON, tables between the markers of a page, a summary for the terminal."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from bench.figure import Figure, Goal, Series

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_HUNDREDS, _ONES = 100, 1


@dataclass(slots=True)
class Report:
    """All figures there are, each with the day it was measured; ``machine`` and ``versions`` say on what."""

    machine: Mapping[str, str]
    versions: Mapping[str, str]
    figures: dict[str, Figure] = field(default_factory=dict)
    days: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path, *, machine: Mapping[str, str], versions: Mapping[str, str]) -> Self:
        """What was measured before on the same machine with the same versions, else nothing."""
        report = cls(machine, versions)
        stored = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if (stored.get("machine"), stored.get("versions")) == (dict(machine), dict(versions)):
            for one in stored["figures"]:
                report.add(_figure(one), day=one["day"])
        return report

    def add(self, figure: Figure, *, day: str) -> None:
        """Put a figure in, in place of the one of the same key."""
        self.figures[figure.key] = figure
        self.days[figure.key] = day

    def order(self, keys: Iterable[str]) -> None:
        """Sort by this order; drop what is not in it, for no measure of that name exists any more."""
        self.figures = {key: self.figures[key] for key in keys if key in self.figures}

    def save(self, file: Path) -> None:
        """Write all of it, with what can be computed from the samples."""
        figures = [
            {**asdict(one), "series": [_series(series) for series in one.series], "day": self.days[key]}
            for key, one in self.figures.items()
        ]
        whole = {"machine": dict(self.machine), "versions": dict(self.versions), "figures": figures}
        file.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def page(self, *, pictures: str) -> str:
        """The part of the page between the markers; ``pictures`` is where the plots are, seen from the page."""
        on = [f"{name} {value}" for name, value in (*self.machine.items(), *self.versions.items())]
        lines = [f"Measured on: {', '.join(on)}.", "", *_goal_rows(self.figures.values())]
        for key, figure in self.figures.items():
            lines += ["", f"### {figure.title}", "", *_series_rows(figure), ""]
            lines += [f"![{figure.title}]({pictures}/{key}.svg)", ""]
            lines += [*(f"- {note}" for note in figure.notes), f"- Measured on {self.days[key]}."]
        return "\n".join(lines)


def put_between(text: str, part: str) -> str:
    """A page with the part between its markers replaced. Raises ValueError when it has no markers."""
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        message = f"the page lacks {BEGIN} or {END}"
        raise ValueError(message)
    return f"{before}{BEGIN}\n\n{part}\n\n{END}{after}"


def summary(figures: Sequence[Figure]) -> str:
    """The table for the terminal: each series, then each goal."""
    lines = []
    for figure in figures:
        lines += ["", figure.title]
        lines += [
            f"  {one.name:<44} {number(one.median):>9} {one.unit:<9} p95 {number(one.p95):>9}  p99 {number(one.p99):>9}"
            for one in figure.series
        ]
        lines += [f"  {_verdict(goal):<6} {goal.text}: {_against(goal)}" for goal in figure.goals]
    return "\n".join(lines)


def number(value: float) -> str:
    """With as many digits as say something."""
    if abs(value) >= _HUNDREDS:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= _ONES else f"{value:.3g}"


def _goal_rows(figures: Iterable[Figure]) -> list[str]:
    rows = [
        f"| [{figure.title}](#{_anchor(figure.title)}) | {goal.text} | {goal.measured:.3g} | {_limit(goal)} "
        f"| {_verdict(goal)} |"
        for figure in figures
        for goal in figure.goals
    ]
    return ["| figure | goal | measured | limit | |", "|---|---|---:|---:|---|", *rows]


def _series_rows(figure: Figure) -> list[str]:
    rows = [
        f"| {one.name} | {number(one.median)} | {number(one.low_quartile)} to {number(one.high_quartile)} "
        f"| {number(one.p95)} | {number(one.p99)} | {one.unit} | {len(one.samples)} |"
        for one in figure.series
    ]
    return ["| | median | middle half | p95 | p99 | unit | samples |", "|---|---:|---:|---:|---:|---|---:|", *rows]


def _anchor(title: str) -> str:
    kept = "".join(one for one in title.lower() if one.isalnum() or one in " -_")
    return kept.replace(" ", "-")


def _verdict(goal: Goal) -> str:
    return "met" if goal.is_met else "MISSED"


def _limit(goal: Goal) -> str:
    return f"{'≤' if goal.at_most else '≥'} {goal.limit:.4g}"


def _against(goal: Goal) -> str:
    return f"{goal.measured:.3g} ({_limit(goal)})"


def _series(series: Series) -> dict[str, Any]:
    statistics = {"median": series.median, "p95": series.p95, "p99": series.p99}
    samples = [float(f"{sample:.6g}") for sample in series.samples]
    return {"name": series.name, "unit": series.unit, **statistics, "samples": samples}


def _figure(stored: Mapping[str, Any]) -> Figure:
    return Figure(
        key=stored["key"],
        title=stored["title"],
        series=tuple(Series.of(item["name"], item["unit"], item["samples"]) for item in stored["series"]),
        goals=tuple(Goal(**item) for item in stored["goals"]),
        notes=tuple(stored["notes"]),
        plot=stored["plot"],
    )

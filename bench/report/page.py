"""Figures as text: the tables between the markers of the page, and the summary on the terminal. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.report.figure import Figure, flat, quantile
from bench.report.runs import QUIET_SHARE, Attempt, Measurement, Outcome, goal_lines

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_HUNDREDS, _ONES = 100, 1


def page(measurements: Sequence[Measurement], attempts: Sequence[Attempt], *, order: Sequence[str]) -> str:
    """The part of the page between the markers. ``order``: the keys of all figures."""
    by_key = {key: [one for one in measurements if one.figure.key == key] for key in order}
    missing = [key for key, found in by_key.items() if not found]
    lines = ["### Goals", "", *_goal_table(one for found in by_key.values() for one in found)]
    if missing:
        lines += ["", f"No measurement on a quiet machine yet: {', '.join(missing)}."]
    for found in filter(None, by_key.values()):
        lines += ["", *_section(found)]
    return "\n".join([*lines, "", "### All runs", "", *_runs(attempts)])


def put_between(text: str, part: str) -> str:
    """Replace the part of a page between its markers. Raises ValueError if it has no markers."""
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{part}\n\n{END}{after}"


def summary(figure: Figure) -> str:
    """The table for the terminal: each series, then each goal."""
    lines = [figure.title]
    for name, samples in _samples(figure):
        p50, p95, p99 = (number(quantile(samples, share)) for share in (0.5, 0.95, 0.99))
        lines.append(f"  {name:<44} {p50:>9} {figure.unit:<12} p95 {p95:>9}  p99 {p99:>9}")
    lines += [f"  {goal['verdict']:<10} {goal['text']}: {_against(goal)}" for goal in goal_lines(figure)]
    return "\n".join(lines)


def number(value: float) -> str:
    """The value with three significant digits, or as many as it has before the point."""
    if abs(value) >= _HUNDREDS:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= _ONES else f"{value:.3g}"


def _goal_table(measurements: Iterable[Measurement]) -> list[str]:
    rows = [
        f"| [{one.figure.title}](#{_anchor(one.figure.title)}) | {goal['text']} | {_limit(goal)} "
        f"| {one.attempt.engine} | {goal['value']:.3g} | {goal['low']:.3g} to {goal['high']:.3g} | {goal['rounds']} "
        f"| {goal['verdict']} |"
        for one in measurements
        for goal in one.attempt.goals
    ]
    head = "| figure | goal | limit | Docker | measured | 95 % interval | rounds | verdict |"
    return [head, "|---|---|---:|---|---:|---:|---:|---|", *rows]


def _section(measurements: Sequence[Measurement]) -> list[str]:
    """One figure, on all engines."""
    newest = measurements[-1].figure
    lines = [f"### {newest.title}", "", "| Docker | | median | middle half | p95 | p99 | unit | samples |"]
    lines.append("|---|---|---:|---:|---:|---:|---|---:|")
    for one in measurements:
        for name, samples in _samples(one.figure):
            p25, p50, p75, p95, p99 = (number(quantile(samples, share)) for share in (0.25, 0.5, 0.75, 0.95, 0.99))
            lines.append(
                f"| {one.attempt.engine} | {name} | {p50} | {p25} to {p75} | {p95} | {p99} | {one.figure.unit} "
                f"| {len(samples)} |"
            )
    for one in measurements:
        engine, figure = one.attempt.engine, one.figure
        lines += ["", f"![{figure.title}, Docker {engine}](performance/{figure.key}-{engine}.svg)", ""]
        lines += [f"- {note}" for note in figure.notes]
        lines.append(f"- Docker {engine}: run {one.attempt.run}, {figure.rounds} rounds, {one.attempt.machine}.")
    return lines


def _runs(attempts: Sequence[Attempt]) -> list[str]:
    lines = [
        (
            "Every measurement that was begun, oldest first, from `docs/performance/runs.jsonl`. Load is the share of "
            "the processors in use just before and just after, when the benchmark itself was idle. A measurement with "
            f"a load above {QUIET_SHARE:.0%} is listed and does not count for the tables."
        ),
        "",
        "| run | figure | Docker | commit | load | outcome | values with their intervals |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in attempts:
        load = ", ".join(f"{share:.0%}" for share in one.load)
        outcome = one.outcome.value + ("" if one.is_quiet or one.outcome is not Outcome.MEASURED else ", busy machine")
        found = "; ".join(f"{goal['text']}: {_against(goal)}, {goal['verdict']}" for goal in one.goals)
        reason = " ".join(one.reason.split())[:200].replace("|", "/")
        lines.append(
            f"| {one.run} | {one.figure} | {one.engine} | {one.commit} | {load} | {outcome} | {found or reason} |"
        )
    return lines


def _samples(figure: Figure) -> Iterable[tuple[str, list[float]]]:
    return [(name, flat(rounds)) for name, rounds in figure.series.items() if flat(rounds)]


def _anchor(title: str) -> str:
    kept = "".join(one for one in title.lower() if one.isalnum() or one in " -_")
    return kept.replace(" ", "-")


def _limit(goal: Mapping[str, Any]) -> str:
    return "" if goal["limit"] is None else f"{'≤' if goal['at_most'] else '≥'} {goal['limit']:.4g}"


def _against(goal: Mapping[str, Any]) -> str:
    limit = _limit(goal)
    return f"{goal['value']:.3g} ({goal['low']:.3g} to {goal['high']:.3g})" + (f", goal {limit}" if limit else "")

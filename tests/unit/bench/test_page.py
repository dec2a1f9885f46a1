"""The page shows goals, figures and every run; its other text stays."""

from dataclasses import replace

import pytest

from bench.report.page import BEGIN, END, number, page, put_between, summary
from bench.report.runs import Attempt, Measurement, Outcome
from tests.unit.bench.test_runs import ATTEMPT, FIGURE

_NEWER = replace(ATTEMPT, engine="28.5.2", run="2026-11-30T09:00:00Z")


def shown(*measurements: Measurement, attempts: tuple[Attempt, ...] = ()) -> list[str]:
    return page(measurements, attempts, order=["starts", "idle"]).splitlines()


def test_each_goal_has_a_row_for_each_engine_with_interval_and_verdict() -> None:
    lines = shown(Measurement(ATTEMPT, FIGURE), Measurement(_NEWER, FIGURE))

    rows = [line for line in lines if line.startswith("| [A fresh start](#a-fresh-start)")]
    assert [row.split(" | ")[3] for row in rows] == ["20.10.24", "28.5.2"]
    assert all(row.startswith("| [A fresh start](#a-fresh-start) | median ÷ raw SDK | ≤ 1.05 | ") for row in rows)
    assert all(row.endswith(" | 8 | met |") for row in rows)


def test_a_figure_has_one_table_for_both_engines_and_a_plot_of_each() -> None:
    lines = shown(Measurement(ATTEMPT, FIGURE), Measurement(_NEWER, FIGURE))

    assert "| 20.10.24 | ours | 104 | 103 to 104 | 104 | 104 | ms | 8 |" in lines
    assert "| 28.5.2 | theirs | 100 | 100 to 101 | 101 | 101 | ms | 8 |" in lines
    assert "![A fresh start, Docker 28.5.2](performance/starts-28.5.2.svg)" in lines
    assert "- Docker 20.10.24: run 2026-11-30T08:00:00Z, 8 rounds, 2 cores." in lines


def test_figures_that_were_not_measured_are_named() -> None:
    assert "No measurement on a quiet machine yet: idle." in shown(Measurement(ATTEMPT, FIGURE))


def test_every_run_is_listed_with_its_load() -> None:
    busy = replace(ATTEMPT, load=(0.5, 0.62))

    lines = shown(attempts=(ATTEMPT, busy))

    first, second = (line for line in lines if line.startswith("| 2026-11-30T08:00:00Z"))
    assert " | 0123456789 | 2%, 4% | measured | median ÷ raw SDK: 1.03 (" in first
    assert " | 50%, 62% | measured, busy machine | " in second


def test_a_figure_that_was_not_measured_is_listed_with_its_reason_on_one_line() -> None:
    skipped = replace(ATTEMPT, outcome=Outcome.SKIPPED, reason="no swarm\nhere | at all", load=(), goals=())

    (line,) = (line for line in shown(attempts=(skipped,)) if line.startswith("| 2026-11-30T08:00:00Z"))

    assert line.endswith("|  | skipped | no swarm here / at all |")


def test_only_the_text_between_the_markers_is_replaced() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"

    assert put_between(text, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


@pytest.mark.parametrize("text", ["", f"{BEGIN} only", f"only {END}"])
def test_a_page_without_its_markers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the page lacks"):
        put_between(text, "new")


def test_the_summary_has_series_and_verdicts() -> None:
    lines = summary(FIGURE).splitlines()

    assert lines[0] == "A fresh start"
    assert lines[1].split() == ["ours", "104", "ms", "p95", "104", "p99", "104"]
    assert lines[-1].startswith("  met        median ÷ raw SDK: 1.03 (")
    assert lines[-1].endswith("), goal ≤ 1.05")


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (123.4, "123"), (12.34, "12.3"), (1.0, "1.0"), (0.1234, "0.123")]
)
def test_a_number_has_the_digits_that_say_something(value: float, text: str) -> None:
    assert number(value) == text

"""What is written of figures: JSON that can be read again, tables, and a page whose other text stays."""

import json
from pathlib import Path

import pytest

from bench.figure import Figure, Goal, Series
from bench.report import BEGIN, END, Report, number, put_between, summary

_MACHINE = {"cores": "2"}
_VERSIONS = {"Python": "3.11.7"}
_STARTS = Figure(
    "starts",
    "A fresh start",
    (Series.of("ours", "ms", [104, 105, 106]), Series.of("theirs", "ms", [100, 101, 99])),
    (Goal("median", 1.05, 1.05), Goal("per second", 0.9, 0.95, at_most=False)),
    ("One at a time.",),
    plot="cdf",
)
_IDLE = Figure("idle", "Doing nothing", (Series.of("ours", "%", [1.5]),))


def report(*figures: Figure) -> Report:
    made = Report(_MACHINE, _VERSIONS)
    for figure in figures:
        made.add(figure, day="2026-11-21")
    return made


def test_what_was_saved_is_loaded_on_the_same_machine(tmp_path: Path) -> None:
    report(_STARTS, _IDLE).save(tmp_path / "results.json")

    loaded = Report.load(tmp_path / "results.json", machine=_MACHINE, versions=_VERSIONS)

    assert loaded == report(_STARTS, _IDLE)


@pytest.mark.parametrize(("machine", "versions"), [({"cores": "4"}, _VERSIONS), (_MACHINE, {"Python": "3.12.1"})])
def test_what_was_measured_elsewhere_is_not_mixed_in(
    tmp_path: Path, machine: dict[str, str], versions: dict[str, str]
) -> None:
    report(_STARTS).save(tmp_path / "results.json")

    assert Report.load(tmp_path / "results.json", machine=machine, versions=versions).figures == {}


def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    assert Report.load(tmp_path / "none.json", machine=_MACHINE, versions=_VERSIONS).figures == {}


def test_the_file_holds_what_can_be_computed_from_the_samples(tmp_path: Path) -> None:
    report(_STARTS).save(tmp_path / "results.json")

    reported = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))

    assert reported["machine"] == _MACHINE
    assert reported["figures"][0]["series"][0]["median"] == 105


def test_a_figure_takes_the_place_of_the_older_one_and_the_order_is_that_of_the_measures() -> None:
    made = report(_IDLE, _STARTS, Figure("gone", "No measure makes it now", _IDLE.series))
    newer = Figure("idle", "Doing nothing", (Series.of("ours", "%", [1.2]),))

    made.add(newer, day="2026-11-22")
    made.order(["starts", "idle", "not measured yet"])

    assert list(made.figures) == ["starts", "idle"]
    assert (made.figures["idle"], made.days["idle"]) == (newer, "2026-11-22")


def test_the_page_shows_machine_goals_series_picture_and_notes() -> None:
    page = report(_STARTS).page(pictures="performance")

    assert "cores 2, Python 3.11.7" in page
    assert "| [A fresh start](#a-fresh-start) | median | 1.05 | ≤ 1.05 | met |" in page
    assert "| [A fresh start](#a-fresh-start) | per second | 0.9 | ≥ 0.95 | MISSED |" in page
    assert "| ours | 105 | 104 to 106 | 106 | 106 | ms | 3 |" in page
    assert "![A fresh start](performance/starts.svg)" in page
    assert "- One at a time." in page


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"

    assert put_between(page, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


@pytest.mark.parametrize("page", ["", f"{BEGIN} only", f"only {END}"])
def test_a_page_without_its_markers_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="the page lacks"):
        put_between(page, "new")


def test_the_summary_says_which_goal_is_missed() -> None:
    text = summary([_STARTS])

    assert "  met    median: 1.05 (≤ 1.05)" in text
    assert "  MISSED per second: 0.9 (≥ 0.95)" in text


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (123.4, "123"), (12.34, "12.3"), (1.0, "1.0"), (0.1234, "0.123")]
)
def test_a_number_has_as_many_digits_as_say_something(value: float, text: str) -> None:
    assert number(value) == text

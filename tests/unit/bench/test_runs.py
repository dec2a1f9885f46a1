"""The log keeps every measurement; the tables get the newest one of a quiet machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.report.figure import Figure, Goal
from bench.report.runs import Archive, Attempt, Measurement, Outcome, goal_lines, write_json

FIGURE = Figure(
    "starts",
    "A fresh start",
    "ms",
    {"ours": ((103.0,), (104.0,)) * 4, "theirs": ((100.0,), (101.0,)) * 4},
    (Goal("median ÷ raw SDK", ("ours",), ("theirs",), limit=1.05),),
)
ATTEMPT = Attempt(
    run="2026-11-30T08:00:00Z", at="2026-11-30T08:05:00Z", commit="0123456789", engine="20.10.24", machine="2 cores",
    figure="starts", outcome=Outcome.MEASURED, seconds=12.5, load=(0.02, 0.04), goals=goal_lines(FIGURE),
)  # fmt: skip
NEWER = Figure("starts", "A fresh start", "ms", {"ours": ((7.0,),)})


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "performance")


def test_without_a_file_there_is_nothing(archive: Archive) -> None:
    assert archive.attempts() == []
    assert archive.measurements() == []


def test_the_log_is_read_as_it_was_written_and_only_grows(archive: Archive) -> None:
    failed = replace(ATTEMPT, outcome=Outcome.FAILED, reason="Docker is gone", load=(), goals=())

    archive.append(ATTEMPT)
    archive.append(failed)

    assert archive.attempts() == [ATTEMPT, failed]


def test_a_line_has_value_interval_and_verdict_of_each_goal() -> None:
    (line,) = ATTEMPT.goals

    assert (line["text"], line["limit"], line["verdict"]) == ("median ÷ raw SDK", 1.05, "met")
    assert line["low"] <= line["value"] <= line["high"]


def test_samples_of_a_quiet_machine_are_kept_by_engine_and_figure(archive: Archive) -> None:
    newer_engine = replace(ATTEMPT, engine="28.5.2")

    assert archive.keep(Measurement(ATTEMPT, FIGURE))
    assert archive.keep(Measurement(newer_engine, FIGURE))

    assert archive.measurements() == [Measurement(ATTEMPT, FIGURE), Measurement(newer_engine, FIGURE)]


def test_the_newest_measurement_counts_whatever_it_shows(archive: Archive) -> None:
    archive.keep(Measurement(ATTEMPT, FIGURE))

    archive.keep(Measurement(ATTEMPT, NEWER))

    assert archive.measurements() == [Measurement(ATTEMPT, NEWER)]


@pytest.mark.parametrize("load", [(0.02, 0.11), (0.5, 0.0), ()])
def test_samples_of_a_busy_machine_do_not_count(archive: Archive, load: tuple[float, ...]) -> None:
    archive.keep(Measurement(ATTEMPT, FIGURE))

    assert not archive.keep(Measurement(replace(ATTEMPT, load=load), NEWER))

    assert archive.measurements() == [Measurement(ATTEMPT, FIGURE)]


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "state.json"

    write_json(file, {"a": 1})
    write_json(file, {"a": 2})

    assert file.read_text(encoding="utf-8") == '{"a": 2}\n'
    assert list(file.parent.iterdir()) == [file]

"""The log of all measurements, one JSON object per line, and the samples behind the tables, one file per engine.

Nothing is ever removed from the log: a reader can check that no measurement was left out.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from bench.report.figure import Estimate, Figure

# A measurement counts for the tables if other programs used at most this share of the processors, before and after.
QUIET_SHARE = 0.10
_LOG = "runs.jsonl"


class Outcome(StrEnum):
    """How the measurement of a figure ended."""

    MEASURED = "measured"
    # It cannot be measured here; the reason says why.
    SKIPPED = "skipped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One line of the log. ``load``: the share of the processors that was in use just before and after.

    ``run`` and ``at`` are UTC times; ``run`` is that of the first figure of the run. ``engine`` is a version of Docker.
    """

    run: str
    at: str
    commit: str
    engine: str
    machine: str
    figure: str
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0
    load: tuple[float, ...] = ()
    goals: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_quiet(self) -> bool:
        """Whether it was measured on a machine with nothing else to do."""
        return bool(self.load) and max(self.load) <= QUIET_SHARE

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The inverse of ``asdict``, through JSON."""
        return cls(
            **{
                **stored,
                "outcome": Outcome(stored["outcome"]),
                "load": tuple(stored["load"]),
                "goals": tuple(stored["goals"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Measurement:
    """A figure with its samples, and the line of the log about it."""

    attempt: Attempt
    figure: Figure


@dataclass(frozen=True, slots=True)
class Archive:
    """The folder of the log and of the samples."""

    folder: Path

    def append(self, attempt: Attempt) -> None:
        """Add a line to the log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(attempt), ensure_ascii=False) + "\n")

    def attempts(self) -> list[Attempt]:
        """All lines of the log, oldest first."""
        file = self.folder / _LOG
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [Attempt.from_json(json.loads(line)) for line in lines]

    def keep(self, measurement: Measurement) -> bool:
        """Store the samples in place of the older ones of this figure and engine, if the machine was quiet.

        The newest measurement counts, whatever it shows. Returns whether it was stored.
        """
        attempt = measurement.attempt
        if not attempt.is_quiet:
            return False
        file = self.folder / f"docker-{attempt.engine}.json"
        stored = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        entry = {"attempt": asdict(attempt), "figure": measurement.figure.as_json()}
        write_json(file, {**stored, attempt.figure: entry})
        return True

    def measurements(self) -> list[Measurement]:
        """The measurements of the tables: at most one of each figure and engine, engines in order."""
        return [
            Measurement(Attempt.from_json(entry["attempt"]), Figure.from_json(entry["figure"]))
            for file in sorted(self.folder.glob("docker-*.json"))
            for entry in json.loads(file.read_text(encoding="utf-8")).values()
        ]


def goal_lines(figure: Figure) -> tuple[dict[str, Any], ...]:
    """Values, intervals and verdicts, as the log has them."""
    return tuple(_goal_line(one) for one in figure.estimates)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Replace a file in one step: a process that is killed leaves the old file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
    new.replace(file)


def _goal_line(one: Estimate) -> dict[str, Any]:
    value, low, high = (float(f"{number:.4g}") for number in (one.value, one.low, one.high))
    goal = {"text": one.goal.text, "limit": one.goal.limit, "at_most": one.goal.at_most}
    return {**goal, "value": value, "low": low, "high": high, "rounds": one.rounds, "verdict": one.verdict.value}

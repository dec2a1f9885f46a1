"""The report of a run: a table for users, a JSON file, and a row for the documentation."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SHOWN = 10
# The columns of docs/reliability.md; the columns after the seconds must be zero.
COLUMNS = (
    "seed", "jobs", "results", "given up", "process kills", "pauses", "server kills", "drain s", "total s",
    "missing", "double", "out of order", "unexpected answers", "two at once", "record≠Docker", "pending", "open leases",
    "all others",
)  # fmt: skip


@dataclass(slots=True)
class Report:
    """``figures`` are measured values; every list of ``violations`` must be empty."""

    figures: dict[str, object] = field(default_factory=dict)
    violations: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        return not any(self.violations.values())

    def text(self) -> str:
        """Return the table and the first violations of each invariant."""
        lines = [f"  {name:<22} {_shown(value)}" for name, value in self.figures.items()]
        lines += ["", *(f"  {name:<22} {len(problems)}" for name, problems in self.violations.items())]
        for name, problems in self.violations.items():
            lines += [f"    {name}: {one}" for one in problems[:_SHOWN]]
        return "\n".join(lines)

    def row(self) -> str:
        """Return the row for the documentation."""
        counts: dict[str, object] = {name: len(problems) for name, problems in self.violations.items()}
        others = sum(len(problems) for name, problems in self.violations.items() if name not in COLUMNS)
        cells = {**self.figures, **counts, "all others": others}
        return "| " + " | ".join(_shown(_total(cells.get(column, ""))) for column in COLUMNS) + " |"

    def save(self, file: Path) -> None:
        """Write the whole report as JSON."""
        whole = {"clean": self.is_clean, "figures": self.figures, "violations": self.violations, "row": self.row()}
        file.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _total(value: object) -> object:
    return sum(value.values()) if isinstance(value, Mapping) else value


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        total = sum(value.values())
        return f"{total} ({', '.join(f'{name} {count}' for name, count in sorted(value.items()))})" if total else "0"
    return f"{value:.0f}" if isinstance(value, float) else str(value)

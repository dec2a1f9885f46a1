"""What the run says at its end: a table for people, a file for programs, a row for the documentation."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SHOWN = 10
# The columns of docs/reliability.md; those behind the seconds must be zero.
COLUMNS = (
    "seed", "jobs", "results", "given up", "process kills", "pauses", "server kills", "drain s", "total s",
    "missing", "double", "out of order", "unexpected answers", "two at once", "record≠Docker", "pending", "open leases",
    "all others",
)  # fmt: skip


@dataclass(slots=True)
class Report:
    """``figures`` are told, ``hurts`` are judged: every list of it must be empty."""

    figures: dict[str, object] = field(default_factory=dict)
    hurts: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        return not any(self.hurts.values())

    def text(self) -> str:
        """The table, and the first few of whatever is wrong."""
        lines = [f"  {name:<22} {_shown(value)}" for name, value in self.figures.items()]
        lines += ["", *(f"  {name:<22} {len(found)}" for name, found in self.hurts.items())]
        for name, found in self.hurts.items():
            lines += [f"    {name}: {one}" for one in found[:_SHOWN]]
        return "\n".join(lines)

    def row(self) -> str:
        """As it stands in the documentation."""
        counts: dict[str, object] = {name: len(found) for name, found in self.hurts.items()}
        others = sum(len(found) for name, found in self.hurts.items() if name not in COLUMNS)
        cells = {**self.figures, **counts, "all others": others}
        return "| " + " | ".join(_shown(_total(cells.get(column, ""))) for column in COLUMNS) + " |"

    def save(self, file: Path) -> None:
        """Write all of it as JSON."""
        whole = {"clean": self.is_clean, "figures": self.figures, "hurts": self.hurts, "row": self.row()}
        file.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _total(value: object) -> object:
    return sum(value.values()) if isinstance(value, Mapping) else value


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        total = sum(value.values())
        return f"{total} ({', '.join(f'{name} {count}' for name, count in sorted(value.items()))})" if total else "0"
    return f"{value:.0f}" if isinstance(value, float) else str(value)

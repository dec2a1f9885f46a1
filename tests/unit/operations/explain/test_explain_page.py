"""docs/explain.md shows the diagnosis of a game in each state. ``make explain`` writes the table from the code."""

import os
from collections.abc import Iterator

from operations.explain.diagnosis import NextStep
from operations.explain.rules.order import diagnose
from tests.paths import ROOT
from tests.unit.operations.explain.game_facts import GAMES, NOW

PAGE = ROOT / "docs" / "explain.md"
BEGIN, END = "<!-- causes:begin -->", "<!-- causes:end -->"


def test_the_table_of_causes_in_the_documentation_is_up_to_date() -> None:
    before, _begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    written, _end, after = rest.partition(END)
    table = "\n" + "\n".join(rows()) + "\n"

    if os.environ.get("EXPLAIN") == "write":
        PAGE.write_text(f"{before}{BEGIN}{table}{END}{after}", encoding="utf-8")
        written = table
    assert written == table, "docs/explain.md is out of date; run make explain"


def rows() -> Iterator[str]:
    yield "| cause | severity | headline | next step |"
    yield "|---|---|---|---|"
    for cause, facts in GAMES.items():
        diagnosis = diagnose(facts, now=NOW)
        yield f"| `{cause}` | {diagnosis.severity} | {cell(diagnosis.headline)} | {step_cell(diagnosis.step)} |"


def step_cell(step: NextStep) -> str:
    return cell(step.text) + (f"<br>`{step.command}`" if step.command else "")


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")

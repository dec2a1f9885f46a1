"""docs/explain.md holds what the code says of a game in each state. The page is renewed by running this."""

from collections.abc import Iterator
from pathlib import Path

from operations.diagnosis.table import diagnose
from operations.diagnosis.verdicts import NextStep
from tests.unit.operations.explained_games import GAMES, NOW

PAGE = Path(__file__).parents[3] / "docs" / "explain.md"
BEGIN, END = "<!-- causes:begin -->", "<!-- causes:end -->"


def test_the_page_says_what_the_code_says() -> None:
    before, _begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    written, _end, after = rest.partition(END)
    table = "\n" + "\n".join(rows()) + "\n"

    if written != table:
        PAGE.write_text(f"{before}{BEGIN}{table}{END}{after}", encoding="utf-8")
    assert written == table, "docs/explain.md was out of date and has been written anew: look at it and keep it"


def rows() -> Iterator[str]:
    yield "| cause | severity | what is said | next step |"
    yield "|---|---|---|---|"
    for cause, facts in GAMES.items():
        verdict = diagnose(facts, now=NOW)
        yield f"| `{cause}` | {verdict.severity} | {cell(verdict.headline)} | {step(verdict.step)} |"


def step(one: NextStep) -> str:
    return cell(one.text) + (f"<br>`{one.command}`" if one.command else "")


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")

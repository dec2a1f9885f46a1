"""SECURITY.md against the tests: a protection that no test holds is a claim only."""

import ast
import re
from pathlib import Path

import pytest

from tests.meta.source import document, syntax
from tests.paths import ROOT

_PLACE = re.compile(r"`([\w/]+\.py)::(\w+)`")


def threats() -> list[list[str]]:
    """The cells of each row of the table of threats."""
    table = document("SECURITY.md").partition("<!-- threats:begin -->")[2].partition("<!-- threats:end -->")[0]
    rows = [line.strip().strip("|").split(" | ") for line in table.splitlines() if line.startswith("|")]
    return rows[2:]


def names_in(path: Path) -> set[str]:
    return (
        {node.name for node in ast.walk(syntax(path)) if isinstance(node, ast.FunctionDef)} if path.exists() else set()
    )


@pytest.mark.parametrize("row", threats(), ids=lambda row: row[0].strip())
def test_each_threat_names_tests_that_exist(row: list[str]) -> None:
    named = _PLACE.findall(row[2])

    assert len(row) == 3
    assert named
    assert [f"{file}::{name}" for file, name in named if name not in names_in(ROOT / "tests" / file)] == []


def test_the_page_has_threats() -> None:
    assert len(threats()) >= 15

"""The language of the project: standard terms in code, tests and documents, and no word of the old dialect.

CONTRIBUTING.md explains the rule. Each banned word has the standard term to use instead.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.paths import ROOT

# Pattern → what to write instead. Underscores count as blanks, so names are searched too.
BANNED: Mapping[str, str] = {
    r"deeds?": "operation, action",
    r"foretells?|foretold": "preview",
    r"mend(?:s|ed|ing)?": "fix, correct",
    # Files have a position, which Python calls tell().
    r"(?<!\.)(?:tells?|telling|told)(?!\(\))": "report, show, say",
    r"whoever|whomever": "the component or person that is meant",
    # "nobody" in quotes is the user of the operating system.
    r"(?<![\"'/])(?<!user )nobody(?!@)|somebody|anybody|everybody": "the component or person that is meant",
    r"anew": "again",
    r"vitals?": "component status",
    r"tall(?:y|ies|ied)": "counter",
    r"black box(?:es)?": "exit report",
    r"sights?": "observation, Docker state",
    r"deaf": "stalled, ignores",
    r"starv(?:e|es|ed|ing)": "out of memory, wait too long",
    r"relists?|relisting": "full reconcile",
    r"aftermath": "resulting state",
    r"patience": "timeout, grace period",
    r"so many": "the number",
    r"as ever": "leave it out",
    r"unwell": "unhealthy",
    # Ids and names consist of letters and digits.
    r"(?<!dead )(?<!case )(?<!ascii )letters?(?! case|,? (?:and )?digits?| or digit| digits|,|\")": "dead letter",
    r"(?:a|the|each|every|this|first|last|second|next) looks?": "check, query, observation",
    r"signs? of life": "heartbeat",
    r"way back": "revert",
}
# These cite old names: the changelog lists every rename, and one test fills a database of an old version.
EXEMPT = ("CHANGELOG.md", "tests/meta/test_language.py", "tests/integration/test_upgrade_from_0_1_0.py")
_SUFFIXES = (".py", ".md", ".html", ".js", ".css", ".yaml", ".yml", ".toml")


def _files() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if name.endswith(_SUFFIXES) and "/migrations/" not in name and name not in EXEMPT:
            yield ROOT / name


def _lines() -> list[tuple[str, str]]:
    """Place and text of every line of the project, underscores as blanks, names in CamelCase split."""
    found = []
    for path in _files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", line)
            found.append((f"{path.relative_to(ROOT)}:{number}", re.sub(r"[_-]", " ", split)))
    return found


LINES = _lines()


@pytest.mark.parametrize("word", BANNED)
def test_no_file_uses_a_banned_word(word: str) -> None:
    pattern = re.compile(rf"\b(?:{word})\b", re.IGNORECASE)

    used = [place for place, line in LINES if pattern.search(line)]

    assert used == [], f"use instead: {BANNED[word]}"

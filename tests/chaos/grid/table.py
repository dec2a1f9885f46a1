"""Renders the grid for docs/reliability.md, and finds its section on the page."""

import re
from collections.abc import Mapping, Sequence

from tests.chaos.grid.cells import WORK, Kind
from tests.chaos.grid.faults import Fault
from tests.chaos.grid.grid import KINDS, faults_of, steps_on_docker
from tests.paths import ROOT

PAGE = ROOT / "docs" / "reliability.md"
_SECTION = re.compile(r"(?<=<!-- grid:begin -->\n).*?(?=<!-- grid:end -->)", re.DOTALL)

_MEANINGS = {
    Fault.KILLED_BEFORE: "`kill -9` right before the step; another worker continues after the end of the lease",
    Fault.KILLED_AFTER: "`kill -9` right after its effect; the sweeper sees that its lock is missing",
    Fault.TIMED_OUT: "no response, and no effect",
    Fault.RESPONSE_LOST: "no response, but the effect has happened; a database connection is lost as well",
    Fault.DELIVERED_TWICE: "a second process gets the same work at this moment",
    Fault.LEASE_LOST: "the lease or leadership expires, a second process does everything, then the first one continues",
    Fault.OVERTAKEN: "the same, but the second process has only started when the first continues, and ends after it",
    Fault.TAKEN_FOR_DEAD: "the worker lives but its lock is lost: a second process does everything, then it continues",
}

_EXCEPTIONS = """
Two exceptions are intended. A REST call is rejected at once with `docker_unavailable` if Docker does not respond before
the first change; nothing has changed then. If only a start sees that the container it replaces has exited, the exit is
reported at most once: not at all if the worker dies after the removal.
"""

Steps = Mapping[str, Sequence[str]]


def read_page() -> str:
    """Return the section of the page."""
    found = _SECTION.search(PAGE.read_text(encoding="utf-8"))
    return found.group() if found else ""


def write(text: str) -> None:
    """Replace the section of the page."""
    PAGE.write_text(_SECTION.sub(lambda _: text, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def render(steps: Steps) -> str:
    """Render the grid of the steps of each kind."""
    return "\n".join([_summary(steps), *_cells(steps), "", *_faults(), _EXCEPTIONS, *_lines(steps), ""])


def _summary(steps: Steps) -> str:
    total = sum(_size(kind, steps) for kind in KINDS)
    on_docker = sum(_size_on_docker(kind, steps) for kind in KINDS)
    return f"""
**{total:,} cells**, on a real PostgreSQL and a real Redis, with a fake Docker in its own process, which outlives the
killed ones. **{on_docker} of them again on a real Docker.** `make grid` runs the grid and writes this part. A cell is
named by operation, step and fault: `start / create / killed after`.
"""


def _cells(steps: Steps) -> list[str]:
    head = ["| operation | steps | cells | on Docker | result in every cell |", "|---|--:|--:|--:|---|"]
    return head + [
        f"| {kind.name} | {len(steps[kind.name])} | {_size(kind, steps)} | {_size_on_docker(kind, steps) or '-'} "
        f"| {kind.meaning} |"
        for kind in KINDS
    ]


def _faults() -> list[str]:
    return ["| fault | what happens |", "|---|---|", *(f"| {fault} | {text} |" for fault, text in _MEANINGS.items())]


def _lines(steps: Steps) -> list[str]:
    """Render the steps in order."""
    return [
        "The steps of the run:",
        "",
        *(f"- *{name}*: {' · '.join(each)}" for name, each in steps.items()),
    ]


def _size(kind: Kind, steps: Steps) -> int:
    return len(faults_of(kind)) * len(steps[kind.name])


def _size_on_docker(kind: Kind, steps: Steps) -> int:
    return len(steps_on_docker(steps[kind.name])) * 2 if kind in WORK else 0

"""The grid as the page shows it, and the place on the page where it stands."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.chaos.grid.cells import WORK, Kind
from tests.chaos.grid.faults import Fault
from tests.chaos.grid.grid import KINDS, faults_of, steps_on_docker

PAGE = Path(__file__).parents[3] / "docs" / "reliability.md"
_PLACE = re.compile(r"(?<=<!-- grid:begin -->\n).*?(?=<!-- grid:end -->)", re.DOTALL)

_MEANINGS = {
    Fault.KILLED_BEFORE: "`kill -9` right before the step",
    Fault.KILLED_AFTER: "`kill -9` right after its effect",
    Fault.TIMED_OUT: "no answer, and no effect",
    Fault.ANSWER_LOST: "no answer, but the effect has happened; of the database the connection is lost as well",
    Fault.DELIVERED_TWICE: "a second process gets the same work in this moment",
    Fault.LEASE_LOST: "lease or leadership is over, a second process does everything, then the first one goes on",
    Fault.OVERTAKEN: "the same, but the second one has only begun when the first goes on, and ends after it",
}

_EXCEPTIONS = """
Two things are as they are on purpose. A REST call that Docker does not answer before anything is touched is refused
at once with `docker_unavailable`, and nothing has changed. And an end that a container came to by itself, seen by
nobody but the start that replaces it, is told at most once: not at all if that worker dies after the removal.
"""

Steps = Mapping[str, Sequence[str]]


def written() -> str:
    """What stands on the page."""
    found = _PLACE.search(PAGE.read_text(encoding="utf-8"))
    return found.group() if found else ""


def write(text: str) -> None:
    """Put it there."""
    PAGE.write_text(_PLACE.sub(lambda _: text, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def render(steps: Steps) -> str:
    """The grid of these steps, by the name of their kind."""
    return "\n".join([_summary(steps), *_cells(steps), "", *_faults(), _EXCEPTIONS, *_lines(steps), ""])


def _summary(steps: Steps) -> str:
    total = sum(_size(kind, steps) for kind in KINDS)
    on_docker = sum(_size_on_docker(kind, steps) for kind in KINDS)
    return f"""
**{total:,} cells**, on a real PostgreSQL and a real Redis, with the engine in memory in a process of its own, which
outlives the killed ones. **{on_docker} of them again on a real Docker.** `make grid` runs the grid and writes
this part. A cell is named by what is broken, the step and the fault: `start / create / killed after`.
"""


def _cells(steps: Steps) -> list[str]:
    head = ["| broken | steps | cells | on Docker | what it always ends in |", "|---|--:|--:|--:|---|"]
    return head + [
        f"| {kind.name} | {len(steps[kind.name])} | {_size(kind, steps)} | {_size_on_docker(kind, steps) or '-'} "
        f"| {kind.meaning} |"
        for kind in KINDS
    ]


def _faults() -> list[str]:
    return ["| fault | what happens |", "|---|---|", *(f"| {fault} | {text} |" for fault, text in _MEANINGS.items())]


def _lines(steps: Steps) -> list[str]:
    """Every step, in order. A call is named by its port, a statement by its meaning."""
    return [
        "The steps, as the run found them:",
        "",
        *(f"- *{name}*: {' · '.join(each)}" for name, each in steps.items()),
    ]


def _size(kind: Kind, steps: Steps) -> int:
    return len(faults_of(kind)) * len(steps[kind.name])


def _size_on_docker(kind: Kind, steps: Steps) -> int:
    return len(steps_on_docker(steps[kind.name])) * 2 if kind in WORK else 0

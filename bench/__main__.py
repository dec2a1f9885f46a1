"""``python -m bench``, called by ``make bench``: measure, print the table, write docs/performance.md."""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from bench import plots, report
from bench.figure import Figure
from bench.ground import Grounds, forget_the_environment
from bench.machine import machine, versions
from bench.measures import MEASURES
from bench.report import Report
from deploy.local.console import Console
from deploy.local.system import signals
from deploy.local.system.errors import LocalError
from deploy.local.workspace import CLONE, workspace_of

_INTERRUPTED = 130
_PAGE = CLONE / "docs" / "performance.md"


def main() -> int:
    """Do it; returns the exit code: 0 when everything was measured, whether goals were met or not."""
    wanted = _arguments()
    forget_the_environment()
    signals.listen()
    console = Console()
    workspace = workspace_of(wanted.workspace)
    began = time.monotonic()
    try:
        with closing(Grounds(workspace, console, quick=wanted.quick)) as grounds:
            figures = _measure(grounds, wanted.only or list(MEASURES))
            # What was only to show that it works is no result.
            folder = workspace.home / "performance" if wanted.quick else _PAGE.with_suffix("")
            _write(figures, folder)
    except KeyboardInterrupt:
        console.say("\ninterrupted; everything has been stopped")
        return _INTERRUPTED
    except LocalError as error:
        console.say(f"\nthe benchmark could not be carried through: {error}\n\nlogs and data: {workspace.home}")
        return 1
    console.say(f"{report.summary(figures)}\n\n{len(figures)} figures in {time.monotonic() - began:.0f} s: {folder}")
    return 0


def _measure(grounds: Grounds, names: Sequence[str]) -> list[Figure]:
    figures = []
    for number, name in enumerate(names, start=1):
        grounds.console.say(f"\n{number} of {len(names)}: {name}")
        figures.append(MEASURES[name](grounds))
        grounds.console.say(report.summary(figures[-1:]))
    return figures


def _write(figures: Sequence[Figure], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "results.json"
    whole = Report.load(file, machine=machine(), versions=versions())
    for figure in figures:
        whole.add(figure, day=time.strftime("%Y-%m-%d"))
        plots.draw(figure, folder / f"{figure.key}.svg")
    whole.order(MEASURES)
    whole.save(file)
    page = folder / _PAGE.name if folder != _PAGE.with_suffix("") else _PAGE
    if page != _PAGE:
        shutil.copy(_PAGE, page)
    pictures = folder.name if page == _PAGE else "."
    page.write_text(report.put_between(page.read_text("utf-8"), whole.page(pictures=pictures)), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(MEASURES), metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--quick", action="store_true", help="a few samples of each, to show that all of it works")
    parser.add_argument("--place", default="bench", choices=("bench", "bench-test"))
    return parser.parse_args()


sys.exit(main())

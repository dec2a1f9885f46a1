"""``python -m bench``, called by ``make bench``: measures, prints tables, writes docs/performance.md."""

import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

from bench.measures import MEASURES
from bench.options import Options, parse
from bench.plans import PLANS
from bench.report import plots
from bench.report.page import page, put_between
from bench.report.runs import Archive, Measurement
from bench.session import Runner, open_session
from bench.testbed.machine import commit, installed_docker, load, machine
from bench.testbed.testbed import WORKSPACE, Testbeds, forget_the_environment
from deploy.local.console import Console
from deploy.local.system import signals
from deploy.local.system.errors import LocalError
from deploy.local.workspace import CLONE, WorkspaceLock

_INTERRUPTED = 130
_PAGE = CLONE / "docs" / "performance.md"


def main() -> int:
    """Measure; return the exit code: 0 if no figure failed, whether goals are met or not."""
    wanted = parse(sys.argv[1:])
    forget_the_environment()
    signals.listen()
    console = Console()
    began = time.monotonic()
    try:
        failed = _run(wanted, console)
    except KeyboardInterrupt:
        console.say("\ninterrupted; everything is stopped; the next `make bench` continues")
        return _INTERRUPTED
    except LocalError as error:
        console.say(f"\nthe benchmark failed: {error}\n\nlogs and data: {WORKSPACE.home}")
        return 1
    console.say(f"\nthe run is complete after {time.monotonic() - began:.0f} s")
    for name, reason in failed.items():
        console.say(f"  {name} failed: {reason}")
    return 1 if failed else 0


def _run(wanted: Options, console: Console) -> Mapping[str, str]:
    """Continue or begin a run; return the figures that failed, with the reasons."""
    holder = WorkspaceLock(WORKSPACE).holder()
    if holder:
        raise LocalError(f"`make bench` runs already in this clone (process {holder}); stop it: make stop")
    # A quick run shows that the benchmark works; its figures are no results.
    page_file = WORKSPACE.home / "quick" / _PAGE.name if wanted.quick else _PAGE
    archive = Archive(page_file.with_suffix(""))
    with closing(Testbeds(WORKSPACE, console, docker_host=wanted.engine, quick=wanted.quick)) as testbeds:
        engine = "" if wanted.engine else installed_docker()
        setting = {
            "commit": commit(),
            "engine": engine or testbeds.engine_version(),
            "machine": machine(),
            "names": wanted.only,
            "quick": wanted.quick,
        }
        kind = "quick" if wanted.quick else "full"
        file = WORKSPACE.home / f"unfinished-{kind}-{setting['engine']}.json"
        session = open_session(file, setting, archive, say=console.say, fresh=wanted.fresh)
        runner = Runner(
            session=session,
            testbeds=testbeds,
            measures=MEASURES,
            archive=archive,
            load=load,
            publish=partial(_publish, archive),
            say=console.say,
        )
        try:
            runner.run()
        finally:
            _write_page(archive, page_file)
            console.say(f"\n{page_file}")
    return session.failed


def _publish(archive: Archive, measurement: Measurement) -> None:
    """Store the samples and draw the plot, unless the machine was busy."""
    if archive.keep(measurement):
        file = archive.folder / f"{measurement.figure.key}-{measurement.attempt.engine}.svg"
        plots.draw(measurement.figure, file)


def _write_page(archive: Archive, file: Path) -> None:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_PAGE, file)
    tables = page(archive.measurements(), archive.attempts(), order=list(PLANS))
    file.write_text(put_between(file.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""``python -m tests.chaos.storm``, called by ``make chaos``: one storm on a separate stack, and its report."""

import argparse
import os
import sys
import time
from pathlib import Path

from deploy.local.console import Console
from deploy.local.stack import running
from deploy.local.system import signals
from deploy.local.system.errors import LocalError
from deploy.local.system.process_cleanup import leftovers
from deploy.local.workspace import Workspace, workspace_of
from rtmanager.config import PREFIX
from tests.chaos.storm.report import Report
from tests.chaos.storm.run import OPTIONS, Storm
from tests.chaos.storm.script import Scale

_INTERRUPTED = 130


def main() -> int:
    """Run the storm; return the exit code, 0 only if every invariant held."""
    wanted = _arguments()
    _forget_the_environment()
    signals.listen()
    console = Console()
    workspace = workspace_of(wanted.workspace)
    try:
        report = _storm(wanted, workspace, console)
    except KeyboardInterrupt:
        console.say("\ninterrupted; everything has been stopped")
        return _INTERRUPTED
    except LocalError as error:
        console.say(f"\nthe chaos run failed: {error}\n\nlogs and data: {workspace.home}")
        return 1
    report.save(wanted.report or workspace.home / "report.json")
    _report_progress(report, workspace, console)
    return 0 if report.is_clean else 1


def _storm(wanted: argparse.Namespace, workspace: Workspace, console: Console) -> Report:
    scale = _scale(wanted)
    console.say(
        f"Chaos run: {scale.jobs} jobs, {scale.kills} process kills, {scale.server_kills} server kills, "
        f"{scale.pauses} pauses, {scale.manual_changes} manual changes, seed {scale.seed}\n"
    )
    began = time.monotonic()
    with running(workspace, console, fresh=True, options=OPTIONS) as stack:
        storm = Storm(stack, console, scale, wanted.jobs_per_second, wanted.drain_seconds)
        report = storm.run()
    report.figures["total s"] = time.monotonic() - began
    report.violations["processes left"] = [str(one) for one in leftovers(workspace)]
    return report


def _report_progress(report: Report, workspace: Workspace, console: Console) -> None:
    console.say(f"\n{report.text()}\n\n{report.row()}\n")
    console.say(
        "Every invariant held." if report.is_clean else f"NOT every invariant held; logs and data: {workspace.home}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--kills", type=int, default=40, help="kill -9 of a process of the service")
    parser.add_argument("--server-kills", type=int, default=6, help="kill -9 of PostgreSQL, Valkey or dockerd")
    parser.add_argument("--pauses", type=int, help="SIGSTOP for longer than a lease; default: one for 15 kills")
    parser.add_argument("--manual-changes", type=int, default=0, help="docker rm -f or kill by hand, on separate games")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs-per-second", type=float, default=4.0, help="at most; the service may be slower")
    parser.add_argument("--drain-seconds", type=float, default=600.0, help="time limit for finishing all work")
    parser.add_argument("--workspace", default="chaos", choices=("chaos", "chaos-test"))
    parser.add_argument("--report", type=Path, help="the JSON file; default: report.json with the logs")
    return parser.parse_args()


def _scale(wanted: argparse.Namespace) -> Scale:
    pauses = wanted.kills // 15 if wanted.pauses is None else wanted.pauses
    return Scale(
        jobs=wanted.jobs, kills=wanted.kills, server_kills=wanted.server_kills, pauses=pauses,
        manual_changes=wanted.manual_changes, seed=wanted.seed,
    )  # fmt: skip


def _forget_the_environment() -> None:
    """Remove settings of other installations from the environment: the storm kills what it uses."""
    for name in [name for name in os.environ if name.startswith(PREFIX) or name == "DOCKER_HOST"]:
        del os.environ[name]


sys.exit(main())

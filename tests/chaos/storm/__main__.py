"""``python -m tests.chaos.storm``, called by ``make chaos``: one storm on a stack of its own, and its report."""

import argparse
import os
import sys
import time
from pathlib import Path

from rtmanager.config import PREFIX
from rtmanager.local import interrupts
from rtmanager.local.console import Console
from rtmanager.local.errors import LocalError
from rtmanager.local.leftovers import leftovers
from rtmanager.local.places import Place, place_of
from rtmanager.local.stack import running
from tests.chaos.storm.report import Report
from tests.chaos.storm.run import SHAPE, Storm
from tests.chaos.storm.script import Scale

_INTERRUPTED = 130


def main() -> int:
    """Do it; returns the exit code, 0 only when every invariant held."""
    wanted = _arguments()
    _forget_the_environment()
    interrupts.listen()
    console = Console()
    place = place_of(wanted.place)
    try:
        report = _storm(wanted, place, console)
    except KeyboardInterrupt:
        console.say("\ninterrupted; everything has been stopped")
        return _INTERRUPTED
    except LocalError as error:
        console.say(f"\nthe chaos run could not be carried through: {error}\n\nlogs and data: {place.home}")
        return 1
    report.save(wanted.report or place.home / "report.json")
    _tell(report, place, console)
    return 0 if report.is_clean else 1


def _storm(wanted: argparse.Namespace, place: Place, console: Console) -> Report:
    scale = _scale(wanted)
    console.say(
        f"Chaos run: {scale.jobs} jobs, {scale.kills} process kills, {scale.server_kills} server kills, "
        f"{scale.pauses} pauses, {scale.meddlings} meddlings, seed {scale.seed}\n"
    )
    began = time.monotonic()
    with running(place, console, fresh=True, shape=SHAPE) as stack:
        storm = Storm(stack, console, scale, wanted.jobs_per_second, wanted.drain_seconds)
        report = storm.run()
    report.figures["total s"] = time.monotonic() - began
    report.hurts["processes left"] = [str(one) for one in leftovers(place)]
    return report


def _tell(report: Report, place: Place, console: Console) -> None:
    console.say(f"\n{report.text()}\n\n{report.row()}\n")
    console.say(
        "Every invariant held." if report.is_clean else f"NOT every invariant held; logs and data: {place.home}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--kills", type=int, default=40, help="kill -9 of a process of the service")
    parser.add_argument("--server-kills", type=int, default=6, help="kill -9 of PostgreSQL, Valkey or dockerd")
    parser.add_argument("--pauses", type=int, help="SIGSTOP for longer than a lease; default: one for 15 kills")
    parser.add_argument(
        "--meddlings", type=int, default=0, help="docker rm -f or kill from outside, on games of their own"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs-per-second", type=float, default=4.0, help="at most; the service may be slower")
    parser.add_argument("--drain-seconds", type=float, default=600.0, help="how long it may take to become calm")
    parser.add_argument("--place", default="chaos", choices=("chaos", "chaos-test"))
    parser.add_argument("--report", type=Path, help="the JSON file; default: report.json with the logs")
    return parser.parse_args()


def _scale(wanted: argparse.Namespace) -> Scale:
    pauses = wanted.kills // 15 if wanted.pauses is None else wanted.pauses
    return Scale(
        jobs=wanted.jobs, kills=wanted.kills, server_kills=wanted.server_kills, pauses=pauses,
        meddlings=wanted.meddlings, seed=wanted.seed,
    )  # fmt: skip


def _forget_the_environment() -> None:
    """Nothing that is meant for another installation may reach this one: it will be killed."""
    for name in [name for name in os.environ if name.startswith(PREFIX) or name == "DOCKER_HOST"]:
        del os.environ[name]


sys.exit(main())

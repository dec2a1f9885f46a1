"""``python -m tests.chaos.recovery``, called by ``make recovery``: kills, and the rows of docs/reliability.md."""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.local.console import Console
from deploy.local.stack import running
from deploy.local.stack_options import StackOptions
from deploy.local.system import signals
from deploy.local.system.errors import LocalError
from deploy.local.workspace import workspace_of
from tests.chaos.recovery.kills import Kills

# A start stays in the middle of its work for this long, and a container of the sample engine stops at once.
_SETTINGS = {"START_SETTLE": "5s", "CONTAINER_STOP_TIMEOUT_SECONDS": "1", "WORKER_CONCURRENCY": "4"}
_SPLIT = ("worker", "bridge_jobs", "relay_events", "watch_runtimes", "run_scheduler")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One row. ``kill`` gets the number of the kill and returns seconds. ``split``: each loop has its own process."""

    killed: str
    until: str
    kill: Callable[[Kills, int], float]
    split: bool = True
    only_worker: bool = False


_MEASURES = {
    "worker": Measure(
        killed="a worker of two",
        until="the other one has its operation",
        kill=lambda stack, _number: stack.of_worker(workers=2),
    ),
    "leader": Measure(
        killed="the leader of a loop, one process per kind",
        until="a standby leads",
        kill=lambda stack, number: stack.of_leader(stack.loops[number % len(stack.loops)]),
    ),
    "restart": Measure(
        killed="each process in turn, with SIGTERM, then restarted",
        until="the slowest job has its result",
        kill=lambda stack, number: stack.of_restart(_SPLIT[number % len(_SPLIT)]),
    ),
    "only-worker": Measure(
        killed="the only worker",
        until="the next one has its operation, from when it is up",
        kill=lambda stack, _number: stack.of_worker(workers=1),
        only_worker=True,
    ),
    "loops": Measure(
        killed="all loops in one process (`run_loops`)",
        until="a standby leads all of them",
        kill=lambda stack, _number: stack.of_leader("bridge"),
        split=False,
    ),
}


def main() -> int:
    """Run all kills and print one row per kind; return the exit code."""
    parser = argparse.ArgumentParser(prog="make recovery", description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="kills of each kind")
    parser.add_argument("--only", choices=tuple(_MEASURES), nargs="*", default=tuple(_MEASURES), help="the rows")
    wanted = parser.parse_args()
    signals.listen()
    console = Console()
    console.say("| killed | until | kills | p50 s | p95 s | longest s |\n|---|---|--:|--:|--:|--:|")
    try:
        for name in wanted.only:
            measure = _MEASURES[name]
            with _stack(console, measure) as stack:
                console.say(_row(measure, [measure.kill(stack, number) for number in range(wanted.kills)]))
    except LocalError as error:
        console.say(f"\nthe measurement failed: {error}")
        return 1
    return 0


@contextmanager
def _stack(console: Console, measure: Measure) -> Iterator[Kills]:
    copies = dict.fromkeys(("run_loops", *_SPLIT), 2) | ({"worker": 1} if measure.only_worker else {})
    options = StackOptions(split=measure.split, copies=copies, settings=_SETTINGS)
    with running(workspace_of("chaos"), console, fresh=True, options=options) as stack:
        kills = Kills(stack)
        try:
            yield kills
        finally:
            kills.close()


def _row(measure: Measure, times: Sequence[float]) -> str:
    p50, p95 = statistics.median(times), statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
    return f"| {measure.killed} | {measure.until} | {len(times)} | {p50:.2f} | {p95:.2f} | {max(times):.2f} |"


sys.exit(main())

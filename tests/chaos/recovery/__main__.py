"""``python -m tests.chaos.recovery``, called by ``make recovery``: kills, and the rows of docs/reliability.md."""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from deploy.local.console import Console
from deploy.local.stack import running
from deploy.local.stack_options import StackOptions
from deploy.local.system import signals
from deploy.local.system.errors import LocalError
from deploy.local.workspace import workspace_of
from tests.chaos.recovery.kills import Kills

# A start stays in the middle of its work for this long, and a container of the sample engine stops at once.
_SETTINGS = {"START_SETTLE": "5s", "CONTAINER_STOP_TIMEOUT_SECONDS": "1", "WORKER_CONCURRENCY": "4"}
_TWICE = ("worker", "run_loops", "bridge_jobs", "relay_events", "watch_runtimes", "run_scheduler")


def main() -> int:
    """Run all kills and print one row per kind; return the exit code."""
    parser = argparse.ArgumentParser(prog="make recovery", description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="kills of each kind")
    kills = parser.parse_args().kills
    signals.listen()
    console = Console()
    console.say("| killed | until | kills | p50 s | p95 s | longest s |\n|---|---|--:|--:|--:|--:|")
    try:
        with _stack(console, split=True) as stack:
            times = _repeat(kills, lambda _number: stack.of_worker(workers=2))
            console.say(_row("a worker of two", "the other one has its operation", times))
            loops = stack.loops
            times = _repeat(kills, lambda number: stack.of_leader(loops[number % len(loops)]))
            console.say(_row("the leader of a loop, one process per kind", "a standby leads", times))
            programs = [program for program in _TWICE if program != "run_loops"]
            times = _repeat(len(programs) * 4, lambda number: stack.of_restart(programs[number % len(programs)]))
            console.say(
                _row("each process in turn, with SIGTERM, then restarted", "the slowest job has a result", times)
            )
        with _stack(console, split=False, only_worker=True) as stack:
            times = _repeat(kills, lambda _number: stack.of_worker(workers=1))
            console.say(_row("the only worker", "the next one has its operation, from when it is up", times))
            times = _repeat(kills, lambda _number: stack.of_leader("bridge"))
            console.say(_row("all loops in one process (`run_loops`)", "a standby leads all of them", times))
    except LocalError as error:
        console.say(f"\nthe measurement failed: {error}")
        return 1
    return 0


@contextmanager
def _stack(console: Console, *, split: bool, only_worker: bool = False) -> Iterator[Kills]:
    copies = dict.fromkeys(_TWICE, 2) | ({"worker": 1} if only_worker else {})
    options = StackOptions(split=split, copies=copies, settings=_SETTINGS)
    with running(workspace_of("chaos"), console, fresh=True, options=options) as stack:
        kills = Kills(stack)
        try:
            yield kills
        finally:
            kills.close()


def _repeat(kills: int, kill: Callable[[int], float]) -> list[float]:
    return [kill(number) for number in range(kills)]


def _row(killed: str, until: str, times: Sequence[float]) -> str:
    p95 = statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
    return f"| {killed} | {until} | {len(times)} | {statistics.median(times):.2f} | {p95:.2f} | {max(times):.2f} |"


sys.exit(main())

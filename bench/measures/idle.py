"""The cost of the whole service without work: processor time and memory."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bench.contest import Contest
from bench.report.figure import Goal
from bench.testbed.processes import Usage, of_service, usage
from bench.testbed.testbed import Testbed, Testbeds
from deploy.local.system.errors import LocalError
from deploy.local.system.shell import wait_until

_WHOLE = "whole service"
_PERCENT, _MIB = 100.0, 1024**2
# Periodic work runs every 15 s, so a shorter observation would sometimes miss it.
_OBSERVE_SECONDS, _QUICK_SECONDS = 15.0, 1.0
_CALM_SECONDS = 20.0
_READY_SECONDS = 90.0
_MOST_PERCENT, _MOST_MIB = 2.0, 240.0


@contextmanager
def processor_time(testbeds: Testbeds, _each: int) -> Iterator[Contest]:
    """Percent of one core, of each program and of all."""
    testbed = testbeds.get()
    seconds = _QUICK_SECONDS if testbeds.quick else _OBSERVE_SECONDS
    testbeds.progress("waiting until all work is done")
    time.sleep(_QUICK_SECONDS if testbeds.quick else _CALM_SECONDS)
    others: list[str] = []

    def turn() -> dict[str, list[float]]:
        shares = _shares(testbed, seconds=seconds)
        names = of_service(shares)
        servers = ", ".join(f"{name} {share:.2f} %" for name, share in shares.items() if name not in names)
        others[:] = [f"Not counted, as seen in the last round: {servers}."]
        return _with_sum({name: shares[name] for name in names})

    contest = Contest(
        "Idle: processor time",
        "% of a core",
        {_WHOLE: turn},
        (Goal("whole service, % of one core", (_WHOLE,), limit=_MOST_PERCENT),),
        others,
    )
    yield contest


@contextmanager
def memory(testbeds: Testbeds, _each: int) -> Iterator[Contest]:
    """Memory (PSS: a page that several processes share counts once) after a new start of the service in each round."""
    testbed = testbeds.get()
    pause = _QUICK_SECONDS if testbeds.quick else _CALM_SECONDS

    def turn() -> dict[str, list[float]]:
        _restart(testbed)
        time.sleep(pause)
        found = usage(testbed.stack)
        return _with_sum({name: _mib(found[name]) for name in of_service(found)})

    note = f"{pause:.0f} s after a start of its programs, before any job."
    goal = Goal("whole service, MiB of memory (PSS)", (_WHOLE,), limit=_MOST_MIB)
    yield Contest("Idle: memory", "MiB", {_WHOLE: turn}, (goal,), [note])


def _shares(testbed: Testbed, *, seconds: float) -> dict[str, float]:
    """Percent of one core by program, over a time."""
    before, began = usage(testbed.stack), time.monotonic()
    time.sleep(seconds)
    after, ended = usage(testbed.stack), time.monotonic()
    return {
        name: (one.seconds - before[name].seconds) / (ended - began) * _PERCENT
        for name, one in after.items()
        if name in before
    }


def _restart(testbed: Testbed) -> None:
    """Restart every program of the service. Raises LocalError if it is not ready again."""
    for name in of_service(str(state["name"]) for state in testbed.stack.processes()):
        testbed.stack.switch(name, on=False)
        testbed.stack.switch(name, on=True)
    if not wait_until(testbed.is_ready, timeout_seconds=_READY_SECONDS, interval_seconds=0.5):
        raise LocalError(f"the service was not ready {_READY_SECONDS:.0f} s after its restart")


def _with_sum(programs: Mapping[str, float]) -> dict[str, list[float]]:
    return {_WHOLE: [sum(programs.values())], **{name: [value] for name, value in programs.items()}}


def _mib(one: Usage) -> float:
    return one.memory / _MIB

"""What the whole service costs when there is nothing to do: time on a core, and memory."""

import time

from bench.figure import Figure, Goal, Series
from bench.ground import Ground, Grounds
from bench.processes import Usage, of_service, usage

_PERCENT, _MIB = 100.0, 1024**2
# Periodic work runs every 15 s, so a shorter measurement would sometimes miss it.
_LOOK_SECONDS, _LOOKS = 15.0, 4
_CALM_SECONDS = 20.0
_MOST_PERCENT, _MOST_MIB = 2.0, 300.0


def measure(grounds: Grounds) -> Figure:
    """Time on a core, of each kind of process and of all."""
    ground = grounds.get()
    grounds.progress("waiting for calm")
    time.sleep(1 if grounds.quick else _CALM_SECONDS)
    shares: list[dict[str, float]] = []
    for number in range(1 if grounds.quick else _LOOKS):
        grounds.progress(f"looking for {_LOOK_SECONDS:.0f} s, {number + 1} of {_LOOKS}")
        shares.append(_shares(ground, seconds=1.0 if grounds.quick else _LOOK_SECONDS))
    names = of_service(shares[0])
    whole = Series.of("whole service", "% of a core", [sum(one[name] for name in names) for one in shares])
    servers = [name for name in shares[0] if name not in names]
    return Figure(
        key="idle",
        title="Idle: time on a core",
        series=(whole, *(Series.of(name, "% of a core", [one[name] for one in shares]) for name in names)),
        goals=(Goal("whole service, % of one core", whole.median, _MOST_PERCENT),),
        notes=(
            "No game runs and no request arrives; the periodic checks of Docker and the database remain.",
            "Not counted: "
            + ", ".join(f"{name} {sum(one[name] for one in shares) / len(shares):.2f} %" for name in servers)
            + ".",
        ),
    )


def measure_memory(grounds: Grounds) -> Figure:
    """Memory of each kind of process and of all. A page that several of them share is counted once."""
    found = usage(grounds.get().stack)
    names = of_service(found)
    whole = Series.of("whole service", "MiB", [_mib(*(found[name] for name in names))])
    return Figure(
        key="memory",
        title="Idle: memory",
        series=(whole, *(Series.of(name, "MiB", [_mib(found[name])]) for name in names)),
        goals=(Goal("whole service, MiB of memory (PSS)", whole.median, _MOST_MIB),),
        notes=(
            f"{len(names)} programs; the web process has a parent that only watches it, with which it shares memory.",
        ),
    )


def _shares(ground: Ground, *, seconds: float) -> dict[str, float]:
    """Percent of one core by program, over a time."""
    before, began = usage(ground.stack), time.monotonic()
    time.sleep(seconds)
    after, ended = usage(ground.stack), time.monotonic()
    return {
        name: (one.seconds - before[name].seconds) / (ended - began) * _PERCENT
        for name, one in after.items()
        if name in before
    }


def _mib(*found: Usage) -> float:
    return sum(one.memory for one in found) / _MIB

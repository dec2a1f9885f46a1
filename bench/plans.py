"""Sample sizes of every figure, fixed before a run. The order here is that of the run and of the report.

All rounds of one run are pooled; runs are never pooled. Each figure begins with one round that does not count. If a
goal is undecided after ``rounds``, ``extra`` rounds follow, whatever they show; only ``EXTRA_SECONDS`` ends them early.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

# The time for extra rounds, of all figures of a run together.
EXTRA_SECONDS = 900.0
_QUICK_EACH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``each``: samples of one contestant in one round. ``minutes``: after this time the figure has failed."""

    rounds: int
    each: int
    extra: int
    minutes: float
    warm_up: bool = True

    def quick(self) -> "Plan":
        """One small round, which shows that the measure works and decides nothing."""
        return replace(self, rounds=1, each=min(self.each, _QUICK_EACH), extra=0, warm_up=False)


PLANS: Mapping[str, Plan] = MappingProxyType(
    {
        "starts": Plan(rounds=24, each=9, extra=24, minutes=40),
        "throughput": Plan(rounds=12, each=16, extra=12, minutes=25),
        "outside_kill": Plan(rounds=10, each=12, extra=10, minutes=20),
        "replays": Plan(rounds=8, each=2000, extra=8, minutes=25),
        "one_at_a_time": Plan(rounds=10, each=50, extra=10, minutes=15),
        "rest": Plan(rounds=10, each=50, extra=10, minutes=15),
        "callers": Plan(rounds=8, each=50, extra=8, minutes=15),
        "reconcile": Plan(rounds=15, each=1, extra=15, minutes=20),
        "probes": Plan(rounds=8, each=10_000, extra=4, minutes=15),
        "growth": Plan(rounds=10, each=12, extra=10, minutes=25),
        "starts_settled": Plan(rounds=12, each=6, extra=12, minutes=25),
        "workers": Plan(rounds=8, each=8, extra=8, minutes=30),
        "waiting": Plan(rounds=8, each=8, extra=8, minutes=30),
        "idle": Plan(rounds=8, each=1, extra=0, minutes=10),
        "memory": Plan(rounds=8, each=1, extra=0, minutes=10),
        "ready": Plan(rounds=8, each=1, extra=8, minutes=15),
        # Docker 20.10 sometimes counts a network of Swarm as in use for ever, so nothing comes after it.
        "swarm": Plan(rounds=4, each=4, extra=0, minutes=15),
    }
)

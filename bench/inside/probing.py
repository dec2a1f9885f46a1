"""The service's prober without the other loops of its process, so that its processor time is seen alone."""

import time

import django

django.setup()

from bench.inside.asked import answer  # noqa: E402 - Django is set up only now
from tasks.loops.http_probes import HttpProbes  # noqa: E402
from tasks.loops.leader_election import LeaderElection  # noqa: E402
from tasks.loops.prober import Prober  # noqa: E402


class Probing:
    """Runs the steps of the prober."""

    def __init__(self) -> None:
        self._prober = Prober(leadership=LeaderElection("prober"), probes=HttpProbes())

    def work(self, seconds: float) -> float:
        """Run it for a time; return its processor seconds, with those of all its threads."""
        began, ends = time.process_time(), time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, self._prober.step()))
        return time.process_time() - began


if __name__ == "__main__":
    answer({"work": Probing().work})

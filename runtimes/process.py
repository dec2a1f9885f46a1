"""What all threads of a process share: the shutdown signal, and how long to pause after failures."""

import random
import threading

# Set when this process begins to shut down. From then on it takes no new work, and held calls and log followers end.
shutting_down = threading.Event()


def backoff(failures: int, *, first: float, longest: float, jitter: float = 0.25) -> float:
    """Return the seconds to pause: ``first``, doubled for each earlier failure, up to ``longest``, less the jitter."""
    seconds = float(min(first * 2 ** min(failures, 16), longest))
    return seconds * random.uniform(1.0 - jitter, 1.0)  # noqa: S311 - spreads load, protects nothing

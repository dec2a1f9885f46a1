"""Dramatiq on the same Valkey: its own program, with two processes of four threads."""

import os
from collections.abc import Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.rivals.nothing import nothing

# Its program imports a broker and takes no arguments for it.
ADDRESS = "BENCH_DRAMATIQ_ADDRESS"
_PROCESSES, _THREADS = 2, 4


def null_actor(address: str) -> "dramatiq.Actor[[], None]":
    """The task, and with it its broker."""
    broker = RedisBroker(url=address)
    dramatiq.set_broker(broker)
    return dramatiq.actor(nothing, broker=broker, actor_name="nothing", queue_name="bench")


def set_up() -> None:
    """Called by its program in every worker process."""
    null_actor(os.environ[ADDRESS])


class DramatiqQueue:
    """Sends one by one; it has no way to send many."""

    def __init__(self, socket: str, *, database: int) -> None:
        self.name = "Dramatiq"
        self._address = f"unix://{socket}?db={database}"
        self._actor = null_actor(self._address)

    def workers(self) -> Sequence[Sequence[str]]:
        """See Queue."""
        os.environ[ADDRESS] = self._address
        size = ["--processes", str(_PROCESSES), "--threads", str(_THREADS)]
        return [["-m", "dramatiq", "bench.rivals.dramatiq_queue:set_up", *size]]

    def enqueue(self, count: int) -> None:
        """See Queue."""
        for _ in range(count):
            self._actor.send()

    def close(self) -> None:
        """See Queue."""
        self._actor.broker.close()

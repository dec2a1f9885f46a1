"""What every queue is used for: start its workers, put null tasks in, and wait for the end of the last one."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import redis

from bench.rivals.nothing import PIPE
from deploy.local.system.errors import LocalError
from deploy.local.system.shell import tail
from deploy.local.workspace import CLONE

_WARM_UP_TASKS = 50
_TIMEOUT_SECONDS = 90.0
_CHECK_SECONDS = 0.5
_END_SECONDS = 15.0


def socket_of(client: "redis.Redis") -> str:
    """The path of the socket by which this client reaches its server."""
    kwargs: dict[str, Any] = client.connection_pool.connection_kwargs
    return str(kwargs["path"])


class Queue(Protocol):
    """A rival, created with the address of a server that the service uses too."""

    name: str

    def workers(self) -> Sequence[Sequence[str]]:
        """The arguments of Python for each of its worker processes."""

    def enqueue(self, count: int) -> None:
        """Put in this number of null tasks, one message each, in the fastest way it has."""

    def close(self) -> None:
        """Close its connections."""


@dataclass(slots=True)
class Serving:
    """A queue whose workers run and have done some tasks; get one from ``serving``."""

    queue: Queue
    pipe: int
    log: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def tasks_per_second(self, count: int, *, enqueue: Callable[[int], None] | None = None) -> float:
        """Null tasks per second, from the first one put in to the end of the last one.

        At most 60,000 tasks: what the pipe holds. ``enqueue`` replaces that of the queue.
        """
        began = time.perf_counter()
        (enqueue or self.queue.enqueue)(count)
        self._await(count)
        return count / (time.perf_counter() - began)

    def one_at_a_time(self, count: int) -> list[float]:
        """Put in one task, wait for its end, put in the next; return the milliseconds of each."""
        return [1000 / self.tasks_per_second(1) for _ in range(count)]

    def _await(self, count: int) -> None:
        """Raises LocalError if not all are done in time, or a worker has exited."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while count > 0:
            is_readable, _, _ = select.select([self.pipe], [], [], _CHECK_SECONDS)
            if is_readable:
                count -= len(os.read(self.pipe, count))
            elif time.monotonic() > deadline or any(one.poll() is not None for one in self.processes):
                raise LocalError(
                    f"{self.queue.name}: {count} null tasks were not done; its log ends:\n{tail(self.log)}"
                )


@contextmanager
def serving(queue: Queue, *, log: Path, environment: Mapping[str, str]) -> Iterator[Serving]:
    """Run the workers of a queue during a block; their processes get ``environment`` on top of that of this process."""
    with ExitStack() as ending:
        folder = ending.enter_context(TemporaryDirectory(prefix="rtm-bench-"))
        path = Path(folder) / "done"
        os.mkfifo(path)
        # Open for reading and writing, so that the pipe has no end while no worker has it open.
        pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        ending.callback(os.close, pipe)
        ending.callback(queue.close)
        output = ending.enter_context(log.open("w"))
        served = Serving(queue, pipe, log)
        for words in queue.workers():
            process = subprocess.Popen(
                [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={**os.environ, **environment, PIPE: str(path)}, cwd=CLONE, start_new_session=True,
            )  # fmt: skip
            ending.callback(_end, process)
            served.processes.append(process)
        served.tasks_per_second(_WARM_UP_TASKS)
        yield served


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Stop an idle worker; kill it if it does not exit."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

"""What is done with each queue: start its workers, put null tasks in, and wait for the end of the last one."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
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
_LOOK_SECONDS = 0.001
_END_SECONDS = 15.0


def socket_of(client: "redis.Redis") -> str:
    """The path of the socket by which this client reaches its server."""
    kwargs: dict[str, Any] = client.connection_pool.connection_kwargs
    return str(kwargs["path"])


class Queue(Protocol):
    """One of the others. Made with the address of its server, which is one that the service uses as well."""

    name: str

    def workers(self) -> Sequence[Sequence[str]]:
        """The arguments for Python of each of its worker processes."""

    def enqueue(self, count: int) -> None:
        """Put in this many null tasks, in the fastest way it has."""

    def close(self) -> None:
        """Leave the server."""


@dataclass(slots=True)
class Serving:
    """A queue whose workers are up and warm; get one from ``serving``."""

    queue: Queue
    pipe: int
    log: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def tasks_per_second(self, count: int) -> float:
        """Null tasks from the first one put in to the last one done. At most 60,000: what the pipe holds unread."""
        began = time.perf_counter()
        self.queue.enqueue(count)
        self._await(count)
        return count / (time.perf_counter() - began)

    def _await(self, count: int) -> None:
        """Raises LocalError when not all are done in time, or a worker has died."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while count > 0:
            with suppress(BlockingIOError):
                count -= len(os.read(self.pipe, count))
                continue
            if time.monotonic() > deadline or any(one.poll() is not None for one in self.processes):
                message = f"{self.queue.name}: {count} null tasks were never done; it said:\n{tail(self.log)}"
                raise LocalError(message)
            time.sleep(_LOOK_SECONDS)


@contextmanager
def serving(queue: Queue, *, log: Path, environment: Mapping[str, str]) -> Iterator[Serving]:
    """The queue with its workers for a block; ``environment`` is what their processes get on top of ours."""
    with ExitStack() as ending:
        folder = ending.enter_context(TemporaryDirectory(prefix="rtm-bench-"))
        path = Path(folder) / "done"
        os.mkfifo(path)
        # Open for both ways, so that the pipe has no end while no worker has it open.
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
    """Stop an idle worker, and wait some time for its end."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

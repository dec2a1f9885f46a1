"""RQ on the same Valkey: two worker processes, of the class that forks for each job or of the one that does not."""

import logging
import sys
from collections.abc import Sequence

import redis
import rq

from bench.rivals.nothing import nothing

_WORKERS = 2
_KINDS = {"simple": rq.SimpleWorker, "forking": rq.Worker}
_NAME = "bench"


class RqQueue:
    """Puts in many at once by a pipeline; keeps neither results nor finished jobs."""

    def __init__(self, socket: str, *, database: int, kind: str) -> None:
        self.name = f"RQ, {kind}"
        self._address = f"unix://{socket}?db={database}"
        self._kind = kind
        self._server = redis.Redis.from_url(self._address)
        self._queue = rq.Queue(_NAME, connection=self._server)

    def workers(self) -> Sequence[Sequence[str]]:
        """See Queue."""
        return [["-m", "bench.rivals.rq_queue", self._address, self._kind]] * _WORKERS

    def enqueue(self, count: int) -> None:
        """See Queue."""
        self._queue.enqueue_many([rq.Queue.prepare_data(nothing, result_ttl=0) for _ in range(count)])

    def close(self) -> None:
        """See Queue."""
        self._server.close()


def _work(address: str, kind: str) -> None:
    # Otherwise it logs two lines for each job.
    logging.getLogger("rq.worker").setLevel(logging.WARNING)
    _KINDS[kind]([_NAME], connection=redis.Redis.from_url(address)).work(logging_level="WARNING")


if __name__ == "__main__":
    _work(*sys.argv[1:])

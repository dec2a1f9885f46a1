"""Celery on the same Valkey: threads or prefork, whichever is faster, without results and events."""

import sys
from collections.abc import Sequence
from functools import cache

import redis
from celery import Celery

from bench.rivals.nothing import nothing

_NULL, _MANY, _REPLY = "bench.nothing", "bench.many", "bench.reply"
_REPLY_SECONDS = 10


def application(broker: str) -> Celery:
    """The application of both sides. Results are not kept: a null task has none."""
    app = Celery("bench", broker=broker, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        worker_send_task_events=False,
        worker_prefetch_multiplier=64,
        broker_connection_retry_on_startup=True,
    )
    app.task(name=_NULL, shared=False)(nothing)

    @app.task(name=_MANY, shared=False)
    def many(count: int) -> None:
        for _ in range(count):
            nothing()

    @app.task(name=_REPLY, shared=False)
    def reply(address: str, key: str) -> None:
        _server(address).lpush(key, "done")

    return app


class CeleryQueue:
    """Sends tasks one by one over one connection; or many as one task, as an application that batches does it."""

    def __init__(self, socket: str, *, database: int, pool: str, concurrency: int) -> None:
        self.name = f"Celery, {pool}"
        self._broker = f"redis+socket://{socket}?virtual_host={database}"
        self._replies = f"unix://{socket}?db={database}"
        self._pool = pool
        self._concurrency = concurrency
        self._app = application(self._broker)

    def workers(self) -> Sequence[Sequence[str]]:
        """See Queue. One worker: its pool works in parallel."""
        return [["-m", "bench.rivals.celery_queue", self._broker, self._pool, str(self._concurrency)]]

    def enqueue(self, count: int) -> None:
        """See Queue."""
        null = self._app.tasks[_NULL]
        with self._app.producer_pool.acquire(block=True) as producer:
            for _ in range(count):
                null.apply_async(producer=producer)

    def enqueue_batches(self, count: int, *, size: int) -> None:
        """Put in this number of null tasks, ``size`` of them in one message."""
        with self._app.producer_pool.acquire(block=True) as producer:
            for first in range(0, count, size):
                self._app.tasks[_MANY].apply_async((min(size, count - first),), producer=producer)

    def round_trip(self, key: str) -> None:
        """Send a task that responds through a list, and wait for that. Raises TimeoutError if nothing arrives."""
        self._app.tasks[_REPLY].delay(self._replies, key)
        if _server(self._replies).blpop([key], timeout=_REPLY_SECONDS) is None:
            message = f"{self.name} did not answer within {_REPLY_SECONDS} s"
            raise TimeoutError(message)

    def close(self) -> None:
        """See Queue."""
        self._app.close()


@cache
def _server(address: str) -> "redis.Redis":
    return redis.Redis.from_url(address)


def _work(broker: str, pool: str, concurrency: str) -> None:
    application(broker).worker_main(
        ["worker", "-P", pool, "-c", concurrency, "-l", "warning", "--without-gossip", "--without-mingle",
         "--without-heartbeat"]
    )  # fmt: skip


if __name__ == "__main__":
    _work(*sys.argv[1:])

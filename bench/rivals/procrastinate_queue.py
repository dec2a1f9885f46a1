"""Procrastinate on the same PostgreSQL: one process with eight tasks at a time, which deletes finished jobs."""

import sys
from collections.abc import Sequence

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate.connector import BaseConnector
from procrastinate.tasks import Task

from bench.rivals.nothing import nothing

_CONCURRENCY = 8
_AT_ONCE = 1000


class ProcrastinateQueue:
    """Puts in many with one statement. ``address`` is a database of its own."""

    def __init__(self, address: str) -> None:
        self.name = "Procrastinate"
        self._address = address
        self._app = App(connector=SyncPsycopgConnector(conninfo=address))
        self._null = null_task(self._app)
        self._app.open()
        self._app.schema_manager.apply_schema()

    def workers(self) -> Sequence[Sequence[str]]:
        """See Queue."""
        return [["-m", "bench.rivals.procrastinate_queue", self._address]]

    def enqueue(self, count: int) -> None:
        """See Queue."""
        for first in range(0, count, _AT_ONCE):
            self._null.batch_defer(*[{} for _ in range(first, min(count, first + _AT_ONCE))])

    def close(self) -> None:
        """See Queue."""
        self._app.close()


def null_task(app: App) -> "Task[[], None, []]":
    """The task, a coroutine, which runs without a thread."""

    async def null() -> None:
        nothing()

    return app.task(name="nothing", queue="bench")(null)


def _work(address: str) -> None:
    connector: BaseConnector = PsycopgConnector(conninfo=address, max_size=_CONCURRENCY + 2)
    app = App(connector=connector)
    null_task(app)
    app.run_worker(queues=["bench"], concurrency=_CONCURRENCY, delete_jobs="always", install_signal_handlers=True)


if __name__ == "__main__":
    _work(*sys.argv[1:])

"""Runs a worker in a separate process, which a fault kills during its work.

The process shares no state with the test: all it needs is sent to it. Importing this module sets up Django.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import django
from django.conf import settings

django.setup()

# Models can be imported after setup() only.
from django.db import connections  # noqa: E402 - see above
from redis import Redis  # noqa: E402 - see above

from operations.intake import OperationRequest  # noqa: E402 - see above
from operations.queue.lease_renewer import lease_renewer  # noqa: E402 - see above
from rtmanager.config import Config  # noqa: E402 - see above
from runtimes.containers import disconnect  # noqa: E402 - see above
from runtimes.containers.base import DockerPort  # noqa: E402 - see above
from tests.chaos.grid.boundaries import BOUNDARIES  # noqa: E402 - see above
from tests.chaos.grid.cells import WORK, Kind  # noqa: E402 - see above
from tests.chaos.grid.faults import Fault, SecondWorker, interceptor_for  # noqa: E402 - see above
from tests.chaos.grid.processes import FORK_SERVER, Host  # noqa: E402 - see above
from tests.chaos.grid.scenarios import World  # noqa: E402 - see above

KINDS = (*BOUNDARIES, *WORK)
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class _Task:
    """The work of the process, and the settings of the test."""

    kind: str
    fault: Fault
    step: str
    game_id: str
    images: Mapping[str, str]
    requested: list[OperationRequest]
    connect: Callable[[], DockerPort]
    database: Mapping[str, Any]
    config: Config
    containers: str
    notifier: str


def work_in_own_process(world: World, kind: Kind, *, fault: Fault, step: str) -> int | None:
    """Run the action of the kind with this fault at this step; return the exit code of the process."""
    connections.close_all()
    disconnect()
    task = _Task(
        kind=kind.name,
        fault=fault,
        step=step,
        game_id=world.game_id,
        images=world.host.images,
        requested=world.requested,
        connect=world.host.connect,
        database=connections["default"].settings_dict,
        config=settings.RTMANAGER,
        containers=settings.RTM_CONTAINERS,
        notifier=settings.RTM_NOTIFIER,
    )
    process = FORK_SERVER.Process(target=_work, args=(task,))
    process.start()
    process.join(timeout=_TIMEOUT_SECONDS)
    exit_code = process.exitcode
    process.kill()
    process.join()
    process.close()
    return exit_code


def _work(task: _Task) -> None:
    settings.RTMANAGER, settings.RTM_CONTAINERS, settings.RTM_NOTIFIER = task.config, task.containers, task.notifier
    connections["default"].settings_dict.update(task.database)
    # As in the tests: no lease is extended in the background.
    lease_renewer.renew_now = lambda: None  # type: ignore[method-assign]
    host = Host("sent", task.connect, _nothing, _no_end, task.game_id, task.images)
    host.use()
    (kind,) = (kind for kind in KINDS if kind.name == task.kind)
    with (
        Redis.from_url(task.config.redis_url, decode_responses=True) as client,
        interceptor_for(task.fault, task.step, SecondWorker(_nothing)).watching(),
    ):
        world = World(host, client, list(task.requested))
        world.hold_worker_lock()
        kind.action(world)


def _nothing() -> None:
    """Prepare nothing: the test did."""


def _no_end(container_id: str) -> None:
    """Only the test ends containers."""
    raise NotImplementedError(container_id)

"""The health events of an exit, and the report of exits after which Docker has restarted the container.

Such a container is alive again when it is inspected, so no operation sees its exit; Docker's events show it. An exit
that an operation causes is not reported: that operation records another container, or that the game does not run.
"""

from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from operations.health.reports import Report, report_all
from operations.installation import database_restore
from operations.messages import HealthEvent, HealthEventType, epoch_ms
from operations.models import Operation, OutboxEvent
from operations.states import OPEN_STATES, Topic
from runtimes.containers import connect
from runtimes.containers.base import Container
from runtimes.containers.exit_causes import was_oom_killed
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ContainerExit:
    """One exit of one container. ``earlier``: the exit before it, or a time soon after that; both by Docker's clock."""

    game_id: str
    container_id: str
    ended_at: datetime
    earlier: datetime
    exit_code: int
    out_of_memory: bool = False


def exit_events(container: Container, *, at: datetime) -> tuple[HealthEvent, ...]:
    """The health events of one exit. Their dedupe keys make sure that each exit is reported once.

    An operator may start the same container again by hand; each of its exits is reported.
    """
    exit_key = str(epoch_ms(at))
    details = {"exit_code": container.exit_code, "oom": was_oom_killed(container)}
    exited = HealthEvent(HealthEventType.CONTAINER_EXITED, container.id, at, details, exit_key)
    if not was_oom_killed(container):
        return (exited,)
    oom = HealthEvent(HealthEventType.CONTAINER_OOM, container.id, at, {"exit_code": container.exit_code}, exit_key)
    return (oom, exited)


def report_end(end: ContainerExit) -> bool:
    """Report the exit if the container is alive again; return False if the caller must try again later. Idempotent.

    Raises ContainersUnavailableError if Docker does not answer.
    """
    running = Runtime.objects.filter(pk=end.game_id, status=RuntimeStatus.RUNNING)
    if not running.filter(current_container_id=end.container_id).exists():
        return True
    if Operation.objects.filter(game_id=end.game_id, state__in=OPEN_STATES).exists():
        return False
    container = connect().find(end.container_id)
    if container is None or not container.is_alive:
        # The reconciler records and reports this exit.
        return False
    if _is_reported(end) or database_restore.was_before(end.ended_at):
        return True
    ended = replace(container, exit_code=end.exit_code, oom_killed=end.out_of_memory)
    events = exit_events(ended, at=end.ended_at)
    reports = [Report(game_id=end.game_id, container_id=end.container_id, event=event) for event in events]
    is_reported = all(report_all(reports))
    if is_reported:
        log.warning(
            "container_restarted_by_docker",
            game_id=end.game_id,
            container_id=end.container_id,
            exit_code=end.exit_code,
            restart_count=container.restart_count,
        )
    return is_reported


def _is_reported(end: ContainerExit) -> bool:
    """Whether an operation has reported this exit, with the time of an inspection, which is a little earlier."""
    prefix = f"health:{end.container_id}:{HealthEventType.CONTAINER_EXITED}:"
    reported = OutboxEvent.objects.filter(
        game_id=end.game_id, topic=Topic.HEALTH_EVENTS, dedupe_key__startswith=prefix
    ).values_list("dedupe_key", flat=True)
    times = [int(key.removeprefix(prefix)) for key in reported]
    return any(epoch_ms(end.earlier) < time <= epoch_ms(end.ended_at) for time in times)

"""The periodic inspection of running games: container state and Docker health check."""

from dataclasses import dataclass, replace
from itertools import compress

import structlog
from django.conf import settings
from django.utils import timezone

from operations.health.reports import Report, report_all, watched_games
from operations.messages import HealthEvent, HealthEventType, epoch_ms
from runtimes.containers import connect
from runtimes.containers.base import OBSERVATION_ERRORS, Container, DockerPort
from runtimes.health import Inspection, Transition, inspect_transition, inspection_of, is_inspectable

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Observation:
    """A running game, the last inspection of its container, and the container now."""

    game_id: str
    before: Inspection
    container: Container

    @property
    def now(self) -> Inspection:
        return inspection_of(self.container)

    @property
    def transition(self) -> Transition:
        return inspect_transition(self.before, self.now)


def inspect_all() -> dict[str, int]:
    """Check all running games; return the number of containers, of single inspections, and of changes.

    A container that becomes unhealthy is reported once; its recovery is recorded in the snapshot. Raises
    ContainersUnavailableError or DockerRefusedError, and changes nothing, if Docker does not list the containers.
    """
    containers = connect()
    listed = _list_watched(containers)
    healthy = [observation for observation in listed if not observation.now.is_unhealthy]
    suspects = [observation for observation in listed if observation.now.is_unhealthy]
    inspected = [seen for suspect in suspects if (seen := _inspect(containers, suspect)) is not None]
    changes = [observation for observation in [*healthy, *inspected] if observation.now != observation.before]
    counted = report_all([_report(observation) for observation in changes])
    for observation in compress(changes, counted):
        _log(observation)
    return {"containers": len(listed), "inspected": len(suspects), "changes": sum(counted)}


def _list_watched(containers: DockerPort) -> list[Observation]:
    """One list call shows which containers are healthy."""
    listed = {found.id: found for found in containers.list_owned(settings.RTMANAGER.stack) if is_inspectable(found)}
    health = ("health__container_id", "health__docker_state", "health__docker_health")
    return [
        Observation(game_id, Inspection(*last) if snapshot_of == container_id else Inspection(), listed[container_id])
        for game_id, container_id, snapshot_of, *last in watched_games().values_list(
            "game_id", "current_container_id", *health
        )
        if container_id in listed
    ]


def _inspect(containers: DockerPort, listed: Observation) -> Observation | None:
    """Inspect one container, which shows restarts and the health of a paused one. None if Docker does not answer."""
    try:
        container = containers.find(listed.container.id)
    except OBSERVATION_ERRORS as error:
        log.warning("container_not_inspected", game_id=listed.game_id, reason=error.message)
        return None
    return replace(listed, container=container) if container is not None and is_inspectable(container) else None


def _report(observation: Observation) -> Report:
    at, before, now, container = timezone.now(), observation.before, observation.now, observation.container
    details = {"restart_count": container.restart_count, "state": now.state, "health": now.health}
    event = HealthEvent(HealthEventType.INSPECT_UNHEALTHY, container.id, at, details, str(epoch_ms(at)))
    return Report(
        game_id=observation.game_id,
        container_id=container.id,
        observed={
            "docker_state": now.state,
            "docker_health": now.health,
            "restart_count": container.restart_count,
            "inspected_at": at,
        },
        expected={"docker_state": before.state, "docker_health": before.health},
        event=event if observation.transition == Transition.FAILED else None,
    )


def _log(observation: Observation) -> None:
    fields = {
        "game_id": observation.game_id,
        "container_id": observation.container.id,
        "state": observation.now.state,
        "health": observation.now.health,
    }
    if observation.transition == Transition.FAILED:
        log.warning("container_became_unhealthy", **fields)
    elif observation.transition == Transition.RECOVERED:
        log.info("container_recovered", **fields)

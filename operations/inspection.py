"""The periodic look at the containers of running games through Docker's eyes: state and health check."""

from dataclasses import dataclass

import structlog
from django.conf import settings
from django.utils import timezone

from operations.events import HealthEvent, HealthEventType, epoch_ms
from operations.health import Report, report_all, watched_games
from runtimes.containers import connect
from runtimes.containers.base import Container, Containers, ContainersUnavailableError
from runtimes.health import Inspection, Transition, after_inspection, inspection_of, is_judged
from runtimes.models import Runtime

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """A running game, what the last look at its container said, and the container now."""

    game_id: str
    before: Inspection
    container: Container

    @property
    def now(self) -> Inspection:
        """What is seen."""
        return inspection_of(self.container)


def inspect_all() -> dict[str, int]:
    """Look at the containers of all running games; returns how many, how many of them closely, and how many news.

    A container that turns unhealthy is told once; its recovery is noted in the snapshot. Raises
    ContainersUnavailableError, with nothing concluded, when Docker cannot list the containers.
    """
    containers = connect()
    looks = _first_looks(containers)
    fine = [look for look in looks if not look.now.is_bad]
    suspects = [look for look in looks if look.now.is_bad]
    closer = [look for one in suspects if (look := _look_closer(containers, one)) is not None]
    news = [look for look in [*fine, *closer] if look.now != look.before]
    counted = report_all([_report(look) for look in news])
    for look, has_counted in zip(news, counted, strict=True):
        if has_counted:
            _log(look)
    return {"containers": len(looks), "inspected": len(suspects), "news": sum(counted)}


def _first_looks(containers: Containers) -> list[Look]:
    """One list call: enough to see who is fine."""
    listed = {one.id: one for one in containers.list_owned(settings.RTMANAGER.stack) if is_judged(one)}
    return [
        Look(runtime.game_id, _last_seen(runtime), container)
        for runtime in watched_games().select_related("health")
        if (container := listed.get(runtime.current_container_id or "")) is not None
    ]


def _last_seen(runtime: Runtime) -> Inspection:
    snapshot = getattr(runtime, "health", None)
    if snapshot is None or snapshot.container_id != runtime.current_container_id:
        return Inspection()
    return Inspection(state=snapshot.docker_state, health=snapshot.docker_health)


def _look_closer(containers: Containers, look: Look) -> Look | None:
    """What an inspection says, which knows the restarts, and the health of a paused one; None when it says nothing."""
    try:
        container = containers.find(look.container.id)
    except ContainersUnavailableError as error:
        log.warning("container_not_inspected", game_id=look.game_id, reason=error.message)
        return None
    return Look(look.game_id, look.before, container) if container is not None and is_judged(container) else None


def _report(look: Look) -> Report:
    at, now, restart_count = timezone.now(), look.now, look.container.restart_count
    details = {"restart_count": restart_count, "state": now.state, "health": now.health}
    event = HealthEvent(HealthEventType.INSPECT_UNHEALTHY, look.container.id, at, details, str(epoch_ms(at)))
    has_failed = after_inspection(look.before, now) == Transition.FAILED
    return Report(
        game_id=look.game_id,
        container_id=look.container.id,
        observed={
            "docker_state": now.state,
            "docker_health": now.health,
            "restart_count": restart_count,
            "inspected_at": at,
        },
        expected={"docker_state": look.before.state, "docker_health": look.before.health},
        event=event if has_failed else None,
    )


def _log(look: Look) -> None:
    fields = {
        "game_id": look.game_id,
        "container_id": look.container.id,
        "state": look.now.state,
        "health": look.now.health,
    }
    transition = after_inspection(look.before, look.now)
    if transition == Transition.FAILED:
        log.warning("container_became_unhealthy", **fields)
    elif transition == Transition.RECOVERED:
        log.info("container_recovered", **fields)

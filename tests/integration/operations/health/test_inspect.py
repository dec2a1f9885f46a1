"""The periodic inspection with the fake Docker: one report per change, and no change while Docker is unavailable."""

from dataclasses import replace

import pytest

from operations.health.inspect import inspect_all
from operations.states import Topic
from runtimes.containers.base import ContainerState, ContainersUnavailableError
from runtimes.models import HealthSnapshot
from tasks.periodic import inspect_runtimes
from tests.integration.harness import Rig, health_events, published


def look(rig: Rig, container_id: str, *, state: ContainerState = ContainerState.RUNNING, health: str = "") -> None:
    """Inspect a container that is like this now."""
    container = replace(rig.engine.containers[container_id], state=state, health=health, restart_count=2)
    rig.engine.containers[container_id] = container
    inspect_all()


def snapshot() -> HealthSnapshot:
    return HealthSnapshot.objects.get()


def test_a_container_that_becomes_unhealthy_is_reported_once_and_its_recovery_is_recorded(rig: Rig) -> None:
    container_id = rig.start().container_id
    look(rig, container_id, health="healthy")
    look(rig, container_id, health="unhealthy")
    look(rig, container_id, health="unhealthy")
    events = published(Topic.HEALTH_EVENTS)[1:]
    look(rig, container_id, health="healthy")

    assert [event["details"] for event in events] == ['{"health":"unhealthy","restart_count":2,"state":"running"}']
    assert health_events() == ["container_started", "inspect_unhealthy"]
    assert (snapshot().docker_state, snapshot().docker_health) == ("running", "healthy")
    assert snapshot().event_type == "inspect_unhealthy"


def test_each_change_to_unhealthy_is_reported(rig: Rig) -> None:
    container_id = rig.start().container_id

    for health in ("unhealthy", "healthy", "unhealthy"):
        look(rig, container_id, health=health)

    assert health_events() == ["container_started", "inspect_unhealthy", "inspect_unhealthy"]


@pytest.mark.parametrize("state", [ContainerState.PAUSED, ContainerState.RESTARTING, ContainerState.DEAD])
def test_a_container_in_an_unhealthy_state_is_reported(rig: Rig, state: ContainerState) -> None:
    container_id = rig.start().container_id

    look(rig, container_id, state=state)

    assert health_events() == ["container_started", "inspect_unhealthy"]
    assert snapshot().docker_state == state


def test_one_list_call_covers_all_healthy_containers(rig: Rig) -> None:
    for number in range(5):
        rig.start(f"g{number}")
    rig.engine.calls.clear()

    inspect_all()
    assert inspect_all() == {"containers": 5, "inspected": 0, "changes": 0}

    assert rig.engine.calls == {"list_owned": 2}
    assert set(HealthSnapshot.objects.values_list("docker_state", flat=True)) == {"running"}


def test_a_game_with_an_open_operation_is_left_alone(rig: Rig) -> None:
    container_id = rig.start().container_id
    rig.ask_stop()

    look(rig, container_id, state=ContainerState.PAUSED)

    assert health_events() == ["container_started"]


def test_an_exited_container_is_not_reported_as_unhealthy(rig: Rig) -> None:
    container_id = rig.start().container_id
    rig.engine.exit(container_id, exit_code=1)

    assert inspect_all()["containers"] == 0


def test_the_health_of_a_new_container_is_independent_of_the_former_one(rig: Rig) -> None:
    look(rig, rig.start().container_id, health="unhealthy")

    look(rig, rig.restart().container_id, health="unhealthy")

    assert health_events().count("inspect_unhealthy") == 2


def test_a_container_that_cannot_be_inspected_is_unknown(rig: Rig) -> None:
    container_id = rig.start().container_id
    rig.engine.fail_before("find", ContainersUnavailableError("no answer"))

    look(rig, container_id, health="unhealthy")
    unknown = health_events()
    look(rig, container_id, health="unhealthy")

    assert unknown == ["container_started"]
    assert health_events() == ["container_started", "inspect_unhealthy"]


def test_an_unavailable_docker_changes_nothing(rig: Rig) -> None:
    rig.start()
    rig.engine.disconnect()

    assert inspect_runtimes() == {}

    assert snapshot().docker_state == ""

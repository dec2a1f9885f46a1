"""The periodic look through Docker's eyes: told once, recovery noted, unknown is no verdict. Docker is in memory."""

from dataclasses import replace

import pytest

from operations.inspection import inspect_all
from operations.states import Topic
from runtimes.containers.base import ContainerState, ContainersUnavailableError
from runtimes.models import HealthSnapshot
from tasks.monitors import inspect_runtimes
from tests.integration.rigs import Rig, health_events, published


def look(rig: Rig, container_id: str, *, state: ContainerState = ContainerState.RUNNING, health: str = "") -> None:
    """Inspect a container that is like this now."""
    container = replace(rig.engine.containers[container_id], state=state, health=health, restart_count=2)
    rig.engine.containers[container_id] = container
    inspect_all()


def snapshot() -> HealthSnapshot:
    return HealthSnapshot.objects.get()


def test_a_container_that_turns_unhealthy_is_told_once_and_its_recovery_is_noted(rig: Rig) -> None:
    container_id = rig.start().container_id
    look(rig, container_id, health="healthy")
    look(rig, container_id, health="unhealthy")
    look(rig, container_id, health="unhealthy")
    told = published(Topic.HEALTH_EVENTS)[1:]
    look(rig, container_id, health="healthy")

    assert [one["details"] for one in told] == ['{"health":"unhealthy","restart_count":2,"state":"running"}']
    assert health_events() == ["container_started", "inspect_unhealthy"]
    assert (snapshot().docker_state, snapshot().docker_health) == ("running", "healthy")
    assert snapshot().event_type == "inspect_unhealthy"


def test_each_time_it_turns_unhealthy_is_told(rig: Rig) -> None:
    container_id = rig.start().container_id

    for health in ("unhealthy", "healthy", "unhealthy"):
        look(rig, container_id, health=health)

    assert health_events() == ["container_started", "inspect_unhealthy", "inspect_unhealthy"]


@pytest.mark.parametrize("state", [ContainerState.PAUSED, ContainerState.RESTARTING, ContainerState.DEAD])
def test_a_container_in_an_odd_state_is_told(rig: Rig, state: ContainerState) -> None:
    container_id = rig.start().container_id

    look(rig, container_id, state=state)

    assert health_events() == ["container_started", "inspect_unhealthy"]
    assert snapshot().docker_state == state


def test_one_list_call_serves_all_who_are_well(rig: Rig) -> None:
    for number in range(5):
        rig.start(f"g{number}")
    rig.engine.calls.clear()

    inspect_all()
    assert inspect_all() == {"containers": 5, "inspected": 0, "news": 0}

    assert rig.engine.calls == {"list_owned": 2}
    assert set(HealthSnapshot.objects.values_list("docker_state", flat=True)) == {"running"}


def test_a_game_with_an_open_operation_is_left_alone(rig: Rig) -> None:
    container_id = rig.start().container_id
    rig.ask_stop()

    look(rig, container_id, state=ContainerState.PAUSED)

    assert health_events() == ["container_started"]


def test_a_container_that_has_ended_is_no_matter_of_health(rig: Rig) -> None:
    container_id = rig.start().container_id
    rig.engine.exit(container_id, exit_code=1)

    assert inspect_all()["containers"] == 0


def test_a_new_container_is_judged_without_regard_to_the_former(rig: Rig) -> None:
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


def test_docker_away_concludes_nothing(rig: Rig) -> None:
    rig.start()
    rig.engine.go_away()

    assert inspect_runtimes() == {}

    assert snapshot().docker_state == ""

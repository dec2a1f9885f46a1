"""Explain a container that operators or settings have changed: real rows, an engine in memory."""

from dataclasses import replace

from operations.explain.collect import explain_game
from operations.states import OperationKind
from runtimes.containers.base import Container, ContainerState
from tests.conftest import RtmSettings
from tests.integration.harness import Rig


def cause(game_id: str = "g1") -> str:
    return explain_game(game_id).cause


def running_container(rig: Rig) -> Container:
    found = rig.container()
    assert found is not None
    return found


def test_settings_that_have_changed_since_the_start_are_differences_until_the_restart(
    rig: Rig, rtm_settings: RtmSettings
) -> None:
    rig.start()
    rtm_settings(default_memory="300m", container_read_only=False)

    before = explain_game("g1")
    rig.restart()
    after = explain_game("g1")

    assert (before.cause, before.next_step.verb) == ("configuration_drift", "restart")
    assert {one.field for one in before.configuration} == {"memory", "memory_and_swap", "read_only_root", "tmpfs"}
    assert (after.cause, after.configuration) == ("healthy", ())


def test_a_renamed_container_is_reported_and_gets_its_name_back_as_proposed(rig: Rig) -> None:
    rig.start()
    own = running_container(rig)
    rig.engine.containers[own.id] = replace(own, name="keep")

    explanation = explain_game("g1")
    rig.do(rig.ask(OperationKind(explanation.next_step.verb or ""), **explanation.next_step.arguments))

    assert (explanation.cause, cause()) == ("endpoint_dead", "healthy")


def test_a_dead_container_that_docker_cannot_remove_is_reported(rig: Rig) -> None:
    rig.start()
    own = running_container(rig)
    rig.engine.containers[own.id] = replace(own, state=ContainerState.DEAD, addresses={})

    assert cause() == "container_not_removable"

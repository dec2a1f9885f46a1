"""Two installations on one Docker: clearing one leaves the other alone."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import docker
import pytest
from django.core.management import call_command

from runtimes.container_spec import LABEL_OWNER, container_name
from runtimes.containers import connect, disconnect
from tests.conftest import RtmSettings
from tests.contract.container_backends import Lab
from tests.servers.sandbox import Playground, open_playground


@pytest.fixture
def other(docker_client: docker.DockerClient, tmp_path: Path) -> Iterator[Playground]:
    """The second stack on the same daemon."""
    ground = open_playground(docker_client, tmp_path / "other-games")
    yield ground
    ground.clear()


@pytest.fixture
def preclean(rtm_settings: RtmSettings, docker_host: str) -> Iterator[Callable[..., str]]:
    rtm_settings(docker_host=docker_host)

    def call(*arguments: str) -> str:
        output = StringIO()
        call_command("preclean", *arguments, stdout=output)
        return output.getvalue()

    yield call
    disconnect()


def run_game(playground: Playground, lab: Lab, name: str) -> str:
    game_id = playground.game_id(name)
    ours = replace(
        lab,
        containers=connect(),
        network=playground.network,
        state_root=playground.state_root,
        stack=playground.stack,
        game_id_prefix=playground.game_id_prefix,
    )
    ours.containers.start(ours.containers.create(ours.spec(game_id=game_id)))
    return container_name(game_id)


def names(playground: Playground) -> list[str]:
    return sorted(str(one.name) for one in playground.containers())


def test_of_two_stacks_on_one_docker_the_named_one_goes(
    preclean: Callable[..., str], real_lab: Lab, playground: Playground, other: Playground
) -> None:
    ours = [run_game(playground, real_lab, "a"), run_game(playground, real_lab, "b")]
    theirs = run_game(other, real_lab, "c")

    previewed = preclean("--stack", playground.stack, "--dry-run")
    untouched = names(playground)
    output = preclean("--stack", playground.stack)

    assert untouched == ours
    assert names(playground) == []
    assert [one.status for one in other.containers()] == ["running"]
    assert all(name in previewed and name in output for name in ours)
    assert theirs not in previewed + output


def test_a_container_of_the_stack_that_is_not_ours_stays(
    preclean: Callable[..., str], real_lab: Lab, playground: Playground
) -> None:
    playground.client.containers.create(
        real_lab.image_refs["healthy"],
        name=container_name(playground.game_id("foreign")),
        labels={"com.galaxy.stack": playground.stack, LABEL_OWNER: "other-service"},
    )

    output = preclean("--stack", playground.stack)

    assert output == f"0 container(s) of stack {playground.stack} removed.\n"
    assert len(playground.containers()) == 1

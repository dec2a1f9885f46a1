"""What operations make of images and containers that others touch, on the real Docker."""

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from operations.models import Operation
from operations.reconcile import survey
from operations.states import OperationKind, OperationSource, Outcome
from runtimes.container_spec import LABEL_FENCE, LABEL_IMAGE_REF, LABEL_OPERATION_ID, container_name
from runtimes.containers import disconnect
from runtimes.containers.fake.adapter import FakeDocker
from runtimes.models import Runtime
from tests.conftest import RtmSettings
from tests.integration.harness import Rig, record
from tests.servers.engine_images import derive_engine
from tests.servers.sandbox import Playground


@pytest.fixture
def game(playground: Playground) -> str:
    return f"{playground.game_id_prefix}-g"


@pytest.fixture
def docker_rig(
    playground: Playground, docker_host: str, rtm_settings: RtmSettings, settings: Settings
) -> Iterator[Rig]:  # fmt: skip
    """Operations on the real Docker; the test moves the workers by hand."""
    settings.RTM_NOTIFIER = "operations.dispatch.Notifier"
    rtm_settings(
        docker_host=docker_host,
        stack=playground.stack,
        docker_network=playground.network,
        game_state_root=str(playground.state_root),
        container_stop_timeout_seconds=0,
        patch_settle_seconds=1.0,
    )
    disconnect()
    yield Rig(engine=FakeDocker(), state_root=playground.state_root)
    disconnect()


@pytest.fixture
def tag(playground: Playground, engine_image: str) -> Iterator[str]:
    """A reference of the healthy engine that this test may move and remove."""
    repository = f"rtm-{playground.game_id_prefix}"
    playground.client.images.get(engine_image).tag(repository, "1.0.0")
    yield f"{repository}:1.0.0"
    for one in playground.client.images.list(name=repository):
        playground.client.images.remove(one.tags[0], force=True)


def inspected(playground: Playground, game: str) -> dict[str, Any]:
    raw: dict[str, Any] = playground.client.api.inspect_container(container_name(game))
    return raw


def test_a_restart_and_a_revert_stay_on_the_image_whose_tag_was_removed(
    docker_rig: Rig, playground: Playground, game: str, tag: str, crashing_image: str
) -> None:
    repository = tag.partition(":")[0]
    playground.client.images.get(crashing_image).tag(repository, "1.0.1")
    docker_rig.start(game, image_ref=tag)
    image_id = record(game).image_id
    playground.client.images.remove(tag, force=True)

    restarted = docker_rig.restart(game)
    after_restart = inspected(playground, game)
    patched = docker_rig.patch(f"{repository}:1.0.1", game)
    after_patch = inspected(playground, game)

    assert restarted.outcome == Outcome.SUCCESS
    assert "names no image on this Docker host any more" in restarted.error_message
    assert patched.error_code == "container_start_failed"
    assert f"{tag} ({image_id[:19]}) was put back" in patched.error_message
    for after in (after_restart, after_patch):
        assert (after["Image"], after["State"]["Running"]) == (image_id, True)
        assert after["Config"]["Labels"][LABEL_IMAGE_REF] == tag
    assert (record(game).image_id, record(game).current_image_ref) == (image_id, tag)


def test_a_restart_that_cannot_pull_under_the_policy_always_leaves_the_game_as_it_is(
    docker_rig: Rig, playground: Playground, game: str, tag: str, rtm_settings: RtmSettings
) -> None:
    docker_rig.start(game, image_ref=tag)
    Runtime.objects.update(current_image_ref="127.0.0.1:1/gone:1.0.0")
    before = inspected(playground, game)["Id"]
    rtm_settings(image_pull_policy="always")

    operation = docker_rig.restart(game)

    assert operation.error_code == "image_pull_failed"
    assert inspected(playground, game)["Id"] == before == record(game).current_container_id


def test_a_container_that_was_started_by_an_image_id_is_adopted_and_restarted(
    docker_rig: Rig, playground: Playground, game: str, tag: str
) -> None:
    docker_rig.start(game, image_ref=tag)
    old = inspected(playground, game)
    playground.client.api.remove_container(old["Id"], force=True)
    Runtime.objects.all().delete()
    made_by_us = {LABEL_OPERATION_ID, LABEL_FENCE, LABEL_IMAGE_REF}
    labels = {name: text for name, text in old["Config"]["Labels"].items() if name not in made_by_us}
    playground.client.containers.run(
        old["Image"][7:19], detach=True, name=container_name(game), labels=labels, network=playground.network
    )
    survey.reconcile_games({game})
    docker_rig.do(Operation.objects.get(op_kind=OperationKind.RECONCILE_ADOPT))

    patched, restarted = docker_rig.patch(tag, game), docker_rig.restart(game)

    assert patched.error_code == "image_ref_not_semver"
    assert restarted.outcome == Outcome.SUCCESS
    assert inspected(playground, game)["Image"] == old["Image"] == record(game).image_id
    assert record(game).current_image_ref == old["Image"]


def test_the_data_of_a_declared_volume_outlive_the_container(
    docker_rig: Rig, playground: Playground, game: str, engine_image: str
) -> None:
    image = derive_engine(playground.client, engine_image, name="with-data", lines="VOLUME /data")
    docker_rig.start(game, image_ref=image)
    first = playground.client.containers.get(container_name(game))
    assert first.exec_run(["busybox", "touch", "/data/turn-1"]).exit_code == 0

    assert docker_rig.restart(game).outcome == Outcome.SUCCESS

    second = playground.client.containers.get(container_name(game))
    assert second.id != first.id
    assert second.exec_run(["cat", "/data/turn-1"]).exit_code == 0
    assert {one["Type"] for one in second.attrs["Mounts"]} == {"bind"}


def test_a_foreign_container_under_the_name_lets_nothing_be_touched_until_it_is_gone(
    docker_rig: Rig, playground: Playground, game: str, engine_image: str
) -> None:
    docker_rig.start(game, image_ref=engine_image)
    own, name = playground.client.containers.get(container_name(game)), container_name(game)
    own.rename(f"{name}-kept")
    foreign = playground.client.containers.create(engine_image, name=name, labels={"com.example.test": "foreign"})
    try:
        refused = docker_rig.restart(game)
        own.reload()
        still = (own.status, own.name)
    finally:
        foreign.remove(force=True)

    given_back = docker_rig.start(game, image_ref=engine_image)

    assert (refused.error_code, still) == ("container_start_failed", ("running", f"{name}-kept"))
    assert (given_back.error_code, given_back.container_id) == ("", own.id)
    own.reload()
    assert own.name == name
    assert not Operation.objects.filter(op_source=OperationSource.AUTO_RECONCILE).exists()

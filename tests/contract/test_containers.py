"""The promises of the container port, held by both adapters."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtimes.container_spec import LABEL_GAME_ID, LABEL_IMAGE_REF, LABEL_OWNER, LABEL_STACK
from runtimes.containers.base import (
    ContainerStartFailedError,
    ContainerState,
    ContainersUnavailableError,
    DockerPort,
    ImagePullFailedError,
    NameTakenError,
    NoSuchContainerError,
)
from tests.contract.container_backends import VOLUMES, Lab
from tests.servers.engine_images import LIMIT_LABELS

NO_ID = "f" * 64


def test_a_healthy_daemon_answers_a_ping(lab: Lab) -> None:
    lab.containers.ping()

    assert lab.containers.find("an-unused-name") is None


def test_a_daemon_says_what_it_is_and_what_time_it_has(lab: Lab) -> None:
    daemon = lab.containers.docker_info()

    assert daemon.version
    assert tuple(int(part) for part in daemon.api_version.split(".")) >= (1, 41)
    assert daemon.os_type == "linux"
    assert daemon.limits["memory"] is True
    assert daemon.now is not None
    assert abs(daemon.now - datetime.now(UTC)) < timedelta(hours=1)


def test_a_created_container_is_found_by_name_and_by_id_and_does_not_run(lab: Lab) -> None:
    spec = lab.spec()

    container_id = lab.containers.create(spec)

    by_name, by_id = lab.containers.find(spec.name), lab.containers.find(container_id)
    assert by_name == by_id
    assert by_name is not None
    assert (by_name.id, by_name.name, by_name.state) == (container_id, spec.name, ContainerState.CREATED)
    assert not by_name.is_alive
    assert by_name.started_at is None
    assert by_name.finished_at is None


def test_labels_come_back_as_they_were_given(lab: Lab) -> None:
    game_id = f"{lab.game_id_prefix}-labels"
    spec = lab.spec(game_id=game_id)

    container = lab.containers.find(lab.containers.create(spec))

    assert container is not None
    assert spec.labels.items() <= container.labels.items()
    assert container.is_owned_by(lab.stack)
    assert (container.game_id, container.operation_id, container.fence) == (game_id, "17", 4)


def test_a_second_container_of_one_name_is_refused(lab: Lab) -> None:
    spec = lab.spec()
    first_id = lab.containers.create(spec)

    with pytest.raises(NameTakenError, match=spec.name):
        lab.containers.create(spec)

    found = lab.containers.find(spec.name)
    assert found is not None
    assert found.id == first_id


def test_the_beginning_of_a_name_or_an_id_finds_nothing(lab: Lab) -> None:
    spec = lab.spec()
    container_id = lab.containers.create(spec)

    assert lab.containers.find(spec.name[:-1]) is None
    assert lab.containers.find(container_id[:12]) is None
    assert lab.containers.find("") is None


def test_a_started_container_runs_and_starting_it_again_changes_nothing(lab: Lab) -> None:
    container_id = lab.run()
    first = lab.containers.find(container_id)

    lab.containers.start(container_id)

    assert first is not None
    assert first.is_alive
    assert first.started_at is not None
    assert lab.containers.find(container_id) == first


def test_a_running_container_does_not_exit_within_the_wait(lab: Lab) -> None:
    container_id = lab.run()

    assert lab.containers.wait_until_exited(container_id, timeout_seconds=0.3) is False


@pytest.mark.parametrize(("image", "exit_code"), [("crashing", 3), ("commandless", 127)])
def test_a_container_that_dies_at_once_is_noticed_with_its_exit_code(lab: Lab, image: str, exit_code: int) -> None:
    container_id = lab.run(image)

    assert lab.containers.wait_until_exited(container_id, timeout_seconds=10) is True

    found = lab.containers.find(container_id)
    assert found is not None
    assert (found.state, found.exit_code, found.oom_killed) == (ContainerState.EXITED, exit_code, False)
    assert found.finished_at is not None


def test_a_container_that_is_gone_has_exited(lab: Lab) -> None:
    assert lab.containers.wait_until_exited(NO_ID, timeout_seconds=0.3) is True


def test_a_container_that_the_daemon_cannot_run_does_not_start(lab: Lab) -> None:
    container_id = lab.create("userless")

    with pytest.raises(ContainerStartFailedError):
        lab.containers.start(container_id)

    found = lab.containers.find(container_id)
    assert found is not None
    assert not found.is_alive


def test_a_container_on_a_network_that_is_missing_does_not_start(lab: Lab) -> None:
    spec = lab.spec(network="rtm-no-such-network")

    # Daemons differ in when they look: at the creation or at the start.
    with pytest.raises(ContainerStartFailedError, match="rtm-no-such-network"):
        lab.containers.start(lab.containers.create(spec))


def test_a_container_of_an_image_that_is_not_there_is_not_created(lab: Lab) -> None:
    spec = lab.spec("rtm-contract/no-such-image:1.0.0")

    with pytest.raises(ContainerStartFailedError):
        lab.containers.create(spec)

    assert lab.containers.find(spec.name) is None


def test_a_stopped_container_stays_and_stopping_it_again_changes_nothing(lab: Lab) -> None:
    container_id = lab.run()
    lab.containers.stop(container_id, grace_seconds=5)
    first = lab.containers.find(container_id)

    lab.containers.stop(container_id, grace_seconds=5)

    assert first is not None
    assert (first.state, first.exit_code) == (ContainerState.EXITED, 143)
    assert lab.containers.find(container_id) == first


def test_a_container_that_ignores_the_stop_signal_is_killed_after_the_grace(lab: Lab) -> None:
    container_id = lab.run("stubborn")

    lab.containers.stop(container_id, grace_seconds=1)

    found = lab.containers.find(container_id)
    assert found is not None
    assert (found.state, found.exit_code, found.oom_killed) == (ContainerState.EXITED, 137, False)


def test_stopping_a_container_that_never_ran_is_success(lab: Lab) -> None:
    container_id = lab.create()

    lab.containers.stop(container_id, grace_seconds=1)

    found = lab.containers.find(container_id)
    assert found is not None
    assert found.state == ContainerState.CREATED


def test_a_stopped_container_can_be_started_again(lab: Lab) -> None:
    container_id = lab.run()
    lab.containers.stop(container_id, grace_seconds=5)

    lab.containers.start(container_id)

    found = lab.containers.find(container_id)
    assert found is not None
    assert (found.state, found.exit_code) == (ContainerState.RUNNING, 0)


def test_a_running_container_is_removed_and_removing_it_again_is_success(lab: Lab) -> None:
    container_id = lab.run()
    lab.containers.remove(container_id, grace_seconds=1)

    lab.containers.remove(container_id, grace_seconds=1)

    assert lab.containers.find(container_id) is None


def test_the_name_is_free_again_after_a_removal(lab: Lab) -> None:
    spec = lab.spec()
    first_id = lab.containers.create(spec)
    lab.containers.remove(first_id, grace_seconds=1)

    second_id = lab.containers.create(spec)

    assert second_id != first_id


def test_a_removal_leaves_the_state_directory_alone(lab: Lab) -> None:
    spec = lab.spec()
    saved = Path(spec.state_path) / "turn-1"
    saved.write_text("saved")

    lab.containers.remove(lab.containers.create(spec), grace_seconds=1)

    assert saved.read_text() == "saved"


def test_starting_or_stopping_a_container_that_is_gone_says_so(lab: Lab) -> None:
    with pytest.raises(NoSuchContainerError):
        lab.containers.start(NO_ID)
    with pytest.raises(NoSuchContainerError):
        lab.containers.stop(NO_ID, grace_seconds=1)


def test_the_list_holds_dead_and_alive_containers_of_this_stack_only(lab: Lab) -> None:
    alive_id, dead_id = lab.run(), lab.create()
    spec = lab.spec()
    foreign_stack = replace(spec, labels={**spec.labels, LABEL_STACK: f"{lab.stack}-other"})
    foreign_id = lab.direct.create(foreign_stack)
    foreign_owner = replace(spec, name=f"{spec.name}-x", labels={**spec.labels, LABEL_OWNER: "other-service"})
    lab.direct.create(foreign_owner)

    listed = lab.containers.list_owned(lab.stack)

    lab.direct.remove(foreign_id, grace_seconds=1)
    states = {container.id: container.state for container in listed}
    assert states == {alive_id: ContainerState.RUNNING, dead_id: ContainerState.CREATED}


def test_the_list_of_one_game_holds_its_containers_dead_and_alive(lab: Lab) -> None:
    spec = lab.spec()
    first_id = lab.containers.create(spec)
    second_id = lab.direct.create(replace(spec, name=f"{spec.name}-x"))
    lab.containers.start(second_id)
    lab.direct.create(replace(spec, name=f"{spec.name}-y", labels={**spec.labels, LABEL_GAME_ID: f"{lab.stack}-other"}))

    listed = lab.containers.list_owned(lab.stack, game_id=spec.labels[LABEL_GAME_ID])

    assert {container.id for container in listed} == {first_id, second_id}
    assert lab.containers.list_owned(lab.stack, game_id=f"{lab.stack}-missing") == []


def test_an_entry_of_the_list_knows_name_labels_and_image_but_no_times(lab: Lab) -> None:
    container_id = lab.run()
    inspected = lab.containers.find(container_id)

    [listed] = lab.containers.list_owned(lab.stack)

    assert inspected is not None
    assert listed == replace(inspected, started_at=None, finished_at=None)


def test_many_are_found_by_their_ids_as_the_list_knows_them_and_those_that_are_gone_are_left_out(lab: Lab) -> None:
    alive_id, dead_id, other_id = lab.run(), lab.create(), lab.create()

    found = lab.containers.list_by_ids([alive_id, NO_ID, dead_id])

    listed = {one.id: one for one in lab.containers.list_owned(lab.stack)}
    assert other_id in listed
    assert {one.id: one for one in found} == {alive_id: listed[alive_id], dead_id: listed[dead_id]}


def test_the_beginning_of_an_id_and_no_ids_at_all_find_nothing(lab: Lab) -> None:
    container_id = lab.create()

    assert lab.containers.list_by_ids([container_id[:12]]) == []
    assert lab.containers.list_by_ids([]) == []


def test_a_local_image_is_found_with_its_labels(lab: Lab) -> None:
    image = lab.containers.find_image(lab.image_refs["healthy"])

    assert image is not None
    assert image.id.startswith("sha256:")
    assert LIMIT_LABELS.items() <= image.labels.items()


def test_an_image_has_its_declared_volumes(lab: Lab) -> None:
    image = lab.containers.find_image(lab.image_refs["voluminous"])

    assert image is not None
    assert list(image.volumes) == sorted(VOLUMES)


def test_an_image_is_found_and_used_by_its_full_id(lab: Lab) -> None:
    by_reference = lab.containers.find_image(lab.image_refs["healthy"])
    assert by_reference is not None
    spec = replace(lab.spec(), image=by_reference.id)

    found = lab.containers.find(lab.containers.create(spec))

    assert lab.containers.find_image(by_reference.id) == by_reference
    assert found is not None
    assert (found.image_id, found.image_ref) == (by_reference.id, by_reference.id)
    assert found.labels[LABEL_IMAGE_REF] == lab.image_refs["healthy"]


def test_an_image_that_is_not_there_is_not_found(lab: Lab) -> None:
    assert lab.containers.find_image("rtm-contract/no-such-image:1.0.0") is None


def test_the_id_of_an_image_is_no_reference_to_it(lab: Lab) -> None:
    image = lab.containers.find_image(lab.image_refs["healthy"])
    assert image is not None
    beginning_of_id = image.id.removeprefix("sha256:")[:12]

    assert lab.containers.find_image(beginning_of_id) is None
    with pytest.raises(ContainerStartFailedError):
        lab.containers.create(lab.spec(beginning_of_id))


@pytest.mark.parametrize("image_ref", ["127.0.0.1:1/game:1.0.0", f"127.0.0.1:1/game@sha256:{'a' * 64}"])
def test_an_image_of_a_registry_that_does_not_answer_cannot_be_pulled(lab: Lab, image_ref: str) -> None:
    with pytest.raises(ImagePullFailedError, match=image_ref):
        lab.containers.pull(image_ref)


def test_only_a_network_of_exactly_this_name_exists(lab: Lab) -> None:
    assert lab.containers.network_exists(lab.network)
    assert not lab.direct.network_exists(lab.network[:-1])


@pytest.mark.parametrize("name", ["bridge", "host", "none"])
def test_the_networks_every_daemon_has_do_not_count(lab: Lab, name: str) -> None:
    assert not lab.containers.network_exists(name)


CALLS: dict[str, Callable[[DockerPort, Lab], object]] = {
    "ping": lambda containers, _lab: containers.ping(),
    "network_exists": lambda containers, lab: containers.network_exists(lab.network),
    "find": lambda containers, _lab: containers.find(NO_ID),
    "list_by_ids": lambda containers, _lab: containers.list_by_ids([NO_ID]),
    "list_owned": lambda containers, lab: containers.list_owned(lab.stack),
    "events": lambda containers, lab: containers.events(lab.stack, since_ns=0),
    "find_image": lambda containers, lab: containers.find_image(lab.image_refs["healthy"]),
    "pull": lambda containers, lab: containers.pull(lab.image_refs["healthy"]),
    "create": lambda containers, lab: containers.create(lab.spec()),
    "start": lambda containers, _lab: containers.start(NO_ID),
    "rename": lambda containers, lab: containers.rename(NO_ID, f"{lab.game_id_prefix}-renamed"),
    "wait_until_exited": lambda containers, _lab: containers.wait_until_exited(NO_ID, timeout_seconds=0.1),
    "stop": lambda containers, _lab: containers.stop(NO_ID, grace_seconds=1),
    "remove": lambda containers, _lab: containers.remove(NO_ID, grace_seconds=1),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_daemon_that_is_away_is_unknown_never_absent(lab: Lab, call: str) -> None:
    with pytest.raises(ContainersUnavailableError) as caught:
        CALLS[call](lab.unreachable, lab)

    assert caught.value.transient


def test_closing_twice_is_harmless(lab: Lab) -> None:
    lab.containers.ping()
    lab.containers.close()
    lab.containers.close()

    assert lab.containers.find("an-unused-name") is None

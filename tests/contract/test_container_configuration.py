"""The configuration of containers on a real Docker: no difference without a change, and each change has its kind."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from runtimes.container_spec import LABEL_STACK, ContainerSpec, Limits
from runtimes.containers.configuration import ConfigurationKind, differences
from tests.contract.container_backends import Lab
from tests.servers.sandbox import Playground
from tests.servers.sessions import SESSION_LABELS


@pytest.fixture
def second_network(playground: Playground) -> Iterator[str]:
    network = playground.client.networks.create(f"{playground.stack}-second", labels=SESSION_LABELS)
    yield str(network.name)
    for container in playground.containers():
        container.remove(force=True)
    network.remove()


def found(lab: Lab, container_id: str, spec: ContainerSpec) -> dict[str, ConfigurationKind]:
    """The differing fields, each with its kind."""
    image = lab.containers.find_image(spec.image_ref)
    assert image is not None
    raw = lab.containers.inspect(container_id).raw
    return {one.field: one.kind for one in differences(raw, spec, image_user=image.user)}


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("user", ["", "1000", "1000:1000"])
def test_a_container_of_ours_has_no_difference_before_and_after_its_start(
    lab: Lab, user: str, *, read_only: bool
) -> None:
    limits = Limits(cpu_quota=0.25, memory_bytes=33 * 1024**2, pids_limit=17)
    spec = replace(lab.spec(), user=user, read_only=read_only, limits=limits)

    container_id = lab.direct.create(spec)
    created = found(lab, container_id, spec)
    lab.containers.start(container_id)

    assert (created, found(lab, container_id, spec)) == ({}, {})


def test_settings_that_have_changed_since_are_differences(lab: Lab) -> None:
    spec = lab.spec()
    container_id = lab.containers.create(spec)
    changed = replace(spec, read_only=False, stop_grace_seconds=9, network="another")

    assert set(found(lab, container_id, changed)) == {"read_only_root", "tmpfs", "stop_timeout_seconds", "networks"}


def test_what_docker_update_changes_is_named_by_its_kind(real_lab: Lab, playground: Playground) -> None:
    spec = real_lab.spec()
    container_id = real_lab.containers.create(spec)
    real_lab.containers.start(container_id)

    playground.client.api.update_container(
        container_id, mem_limit="32m", cpu_shares=5, restart_policy={"Name": "always"}
    )

    assert found(real_lab, container_id, spec) == {
        "restart_policy": ConfigurationKind.RESTART_POLICY,
        "memory": ConfigurationKind.LIMITS,
        "cpu_shares": ConfigurationKind.LIMITS,
    }


def test_a_network_joined_by_hand_and_another_name_are_named(
    real_lab: Lab, playground: Playground, second_network: str
) -> None:
    spec = real_lab.spec()
    container_id = real_lab.containers.create(spec)
    real_lab.containers.start(container_id)

    playground.client.networks.get(second_network).connect(container_id)
    playground.client.api.rename(container_id, f"{spec.name}-kept")

    assert found(real_lab, container_id, spec) == {
        "networks": ConfigurationKind.NETWORKS, "name": ConfigurationKind.NAME,
    }  # fmt: skip


def test_a_container_made_by_hand_is_shown_with_all_that_it_may_do(
    real_lab: Lab, playground: Playground, second_network: str
) -> None:
    spec = real_lab.spec()
    made = playground.client.containers.run(
        spec.image_ref, detach=True, name=spec.name, network=second_network, privileged=True,
        cap_add=["NET_ADMIN"], pid_mode="host", user="4711", ports={"8080/tcp": None},
        volumes={str(real_lab.state_root): {"bind": "/host", "mode": "ro"}}, labels={LABEL_STACK: real_lab.stack},
    )  # fmt: skip

    fields = found(real_lab, str(made.id), spec)

    hardening = {field for field, kind in fields.items() if kind == ConfigurationKind.HARDENING}
    assert hardening == {
        "privileged", "capabilities_added", "capabilities_dropped", "security_options", "read_only_root", "tmpfs",
        "user", "shared_namespaces", "init",
    }  # fmt: skip
    assert {"published_ports", "mounts", "networks", "memory", "processes", "environment"} <= set(fields)

"""Rejections of a real Docker: each has its kind, short ids, Docker's error text and advice."""

import re
from collections.abc import Iterator
from dataclasses import replace

import docker
import pytest
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool

from runtimes.container_spec import MIN_CPU_QUOTA, MIN_MEMORY_BYTES, MIN_PIDS_LIMIT, ContainerSpec, Limits
from runtimes.containers.base import ContainerStartFailedError
from runtimes.containers.refusals import Refusal
from tests.contract.container_backends import LIMITS, Lab
from tests.servers.sandbox import Playground
from tests.servers.sessions import SESSION_LABELS

_LONG_ID = re.compile(r"(?<![:@0-9a-f])[0-9a-f]{64}")


@pytest.fixture
def tiny_network(docker_client: docker.DockerClient, playground: Playground) -> Iterator[Network]:
    """A network with one free address, and nothing in it."""
    ipam = IPAMConfig(pool_configs=[IPAMPool(subnet="10.251.88.0/30")])
    network = docker_client.networks.create(f"{playground.stack}-tiny", ipam=ipam, labels=SESSION_LABELS)
    yield network
    for container in playground.containers():
        container.remove(force=True)
    network.remove()


def _refusal(lab: Lab, spec: ContainerSpec) -> ContainerStartFailedError:
    with pytest.raises(ContainerStartFailedError) as caught:
        lab.containers.start(lab.containers.create(spec))
    error = caught.value
    assert error.refusal is not None
    assert error.message.isprintable()
    assert not _LONG_ID.search(error.message)
    assert error.message.endswith(error.refusal.advice)
    return error


def test_a_network_without_a_free_address(real_lab: Lab, tiny_network: Network) -> None:
    name = str(tiny_network.name)
    real_lab.containers.start(real_lab.containers.create(real_lab.spec(network=name)))

    error = _refusal(real_lab, real_lab.spec(network=name))

    assert error.refusal == Refusal.NO_ADDRESS
    assert "no available IPv4 addresses" in error.message


def test_a_network_that_is_gone(real_lab: Lab) -> None:
    assert _refusal(real_lab, real_lab.spec(network="no-such-network")).refusal == Refusal.NETWORK_MISSING


def test_a_state_directory_that_the_host_does_not_see(real_lab: Lab) -> None:
    spec = replace(real_lab.spec(), state_path=str(real_lab.state_root / "nowhere"))

    assert _refusal(real_lab, spec).refusal == Refusal.MOUNT_SOURCE_MISSING


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [
        (replace(LIMITS, cpu_quota=100_000.0), Refusal.CPU_LIMIT),
        (replace(LIMITS, cpu_quota=MIN_CPU_QUOTA / 2), Refusal.CPU_LIMIT),
        (replace(LIMITS, memory_bytes=MIN_MEMORY_BYTES - 1), Refusal.MEMORY_LIMIT),
        (replace(LIMITS, pids_limit=2**62), Refusal.PIDS_LIMIT),
    ],
)
def test_a_limit_that_cannot_be_set(real_lab: Lab, limits: Limits, refusal: Refusal) -> None:
    assert _refusal(real_lab, replace(real_lab.spec(), limits=limits)).refusal == refusal


def test_a_user_that_the_image_does_not_have(real_lab: Lab) -> None:
    assert _refusal(real_lab, real_lab.spec("userless")).refusal == Refusal.USER_UNKNOWN


def test_the_least_limits_let_a_container_start_and_one_process_less_does_not(real_lab: Lab) -> None:
    least = Limits(MIN_CPU_QUOTA, LIMITS.memory_bytes, MIN_PIDS_LIMIT)
    upper, lower = (real_lab.containers.create(replace(real_lab.spec(), limits=limits)) for limits in (
        least, replace(least, cpu_quota=0.5, pids_limit=MIN_PIDS_LIMIT - 1),
    ))  # fmt: skip
    for container_id in (upper, lower):
        real_lab.containers.start(container_id)

    assert real_lab.containers.wait_until_exited(lower, 20)
    assert not real_lab.containers.wait_until_exited(upper, 0.5)


def test_the_host_has_cpus_and_memory(real_lab: Lab, docker_client: docker.DockerClient) -> None:
    info = docker_client.info()

    capacity = real_lab.containers.host_capacity()

    assert capacity is not None
    assert (capacity.cpus, capacity.memory_bytes) == (info["NCPU"], info["MemTotal"])

"""Laboratories and sites as fixtures: each contract test runs on the fake and on the real Docker or Redis."""

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import docker
import pytest

from runtimes.containers.docker.adapter import DockerAdapter
from runtimes.gateway.calls import Role
from runtimes.gateway.create_rules import CreateRules
from tests.conftest import RtmSettings
from tests.contract.container_backends import DERIVED, Lab, container_policy, docker_lab, fake_lab
from tests.contract.remote_reads import ReadsThroughWorker
from tests.contract.stream_backends import FakeSite, RedisSite, Site
from tests.servers.docker_gateway import RunningGateway, running_gateway
from tests.servers.engine_images import derive_engine
from tests.servers.sandbox import Playground


@pytest.fixture(scope="session")
def image_refs(docker_client: docker.DockerClient, engine_image: str, crashing_image: str) -> Mapping[str, str]:
    """Behaviour → reference of the image that has it."""
    derived = {
        name: derive_engine(docker_client, engine_image, name=name, lines=words) for name, words in DERIVED.items()
    }
    return {"healthy": engine_image, "crashing": crashing_image, **derived}


@pytest.fixture
def real_lab(playground: Playground, image_refs: Mapping[str, str], docker_host: str) -> Iterator[Lab]:
    lab = docker_lab(playground, image_refs, docker_host=docker_host)
    yield lab
    lab.containers.close()


@pytest.fixture
def gateway(playground: Playground, docker_host: str) -> Iterator[RunningGateway]:
    """A Docker gateway for the stack of the playground."""
    policy = container_policy(stack=playground.stack, network=playground.network, state_root=playground.state_root)
    # The path of a socket has at most 107 bytes, so pytest's own directories are too deep.
    with (
        TemporaryDirectory(prefix="rtm-gateway-") as directory,
        running_gateway(Path(directory), CreateRules(policy), docker_host=docker_host) as gateway,
    ):
        yield gateway


@pytest.fixture
def gateway_lab(real_lab: Lab, gateway: RunningGateway) -> Iterator[Lab]:
    """The real laboratory, whose adapter reaches Docker through the gateway."""
    with closing(DockerAdapter(gateway.host(Role.OPERATE))) as containers:
        yield replace(real_lab, containers=containers)


@pytest.fixture
def remote_lab(real_lab: Lab, redis_url: str, rtm_settings: RtmSettings) -> Iterator[Lab]:
    """The real laboratory. Reads go through a worker, which is a thread of the test; all other calls go to Docker."""
    rtm_settings(redis_url=redis_url)
    with closing(ReadsThroughWorker(real_lab.containers)) as containers:
        yield replace(real_lab, containers=containers)


@pytest.fixture(params=["fake", "docker", "gateway", "remote"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    if request.param == "fake":
        return fake_lab(tmp_path)
    # Asked for by name, so that the fake side runs where there is no Docker.
    real: Lab = request.getfixturevalue(
        {"docker": "real_lab", "gateway": "gateway_lab", "remote": "remote_lab"}[request.param]
    )
    return real


@pytest.fixture
def real_site(redis_url: str) -> Iterator[RedisSite]:
    with contextlib.closing(RedisSite(redis_url)) as site:
        yield site


@pytest.fixture(params=["fake", "redis"])
def site(request: pytest.FixtureRequest) -> Site:
    if request.param == "fake":
        return FakeSite()
    real: Site = request.getfixturevalue("real_site")
    return real

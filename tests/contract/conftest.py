"""Laboratories and sites as fixtures: each contract test runs on the fake and on the real Docker or Redis."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest

from tests.contract.labs import DERIVED, Lab, docker_lab, fake_lab
from tests.contract.stream_sites import FakeSite, RedisSite, Site
from tests.servers.engine_images import derive_engine
from tests.servers.playground import Playground


@pytest.fixture(scope="session")
def image_refs(docker_client: docker.DockerClient, engine_image: str, crashing_image: str) -> Mapping[str, str]:
    """Behaviour → reference of the image that has it."""
    derived = {
        name: derive_engine(docker_client, engine_image, name=name, words=words) for name, words in DERIVED.items()
    }
    return {"healthy": engine_image, "crashing": crashing_image, **derived}


@pytest.fixture
def real_lab(playground: Playground, image_refs: Mapping[str, str], docker_host: str) -> Iterator[Lab]:
    lab = docker_lab(playground, image_refs, docker_host=docker_host)
    yield lab
    lab.containers.close()


@pytest.fixture(params=["fake", "docker"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    if request.param == "fake":
        return fake_lab(tmp_path)
    # Asked for by name, so that the fake side runs where there is no Docker.
    real: Lab = request.getfixturevalue("real_lab")
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

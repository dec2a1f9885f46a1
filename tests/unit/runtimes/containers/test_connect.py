"""One adapter per thread, of the class that the settings name."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from pytest_django import Settings

from rtmanager.config import Config
from runtimes.containers import connect, disconnect
from runtimes.containers.base import ContainersUnavailableError, DockerPort
from runtimes.containers.docker.adapter import DockerAdapter
from runtimes.containers.fake.adapter import FakeAdapter

FAKE = "runtimes.containers.fake.adapter.FakeAdapter"


@pytest.fixture(autouse=True)
def _fresh_thread(settings: Settings) -> None:
    settings.RTM_CONTAINERS = FAKE
    disconnect()


def test_a_thread_keeps_its_adapter() -> None:
    assert connect() is connect()


def test_another_thread_gets_another_adapter() -> None:
    with ThreadPoolExecutor(1) as pool:
        other: DockerPort = pool.submit(connect).result()

    assert other is not connect()


def test_after_a_disconnect_there_is_a_new_adapter() -> None:
    before = connect()

    disconnect()

    assert connect() is not before


def test_another_class_in_the_settings_makes_another_adapter(settings: Settings) -> None:
    assert isinstance(connect(), FakeAdapter)

    settings.RTM_CONTAINERS = "runtimes.containers.docker.adapter.DockerAdapter"

    assert isinstance(connect(), DockerAdapter)


def test_another_docker_host_makes_another_adapter(settings: Settings, rtm_settings: Callable[..., Config]) -> None:
    settings.RTM_CONTAINERS = "runtimes.containers.docker.adapter.DockerAdapter"
    before = connect()

    rtm_settings(docker_host="unix:///no/listener.sock")

    assert connect() is not before
    with pytest.raises(ContainersUnavailableError, match=r"/no/listener\.sock"):
        connect().ping()

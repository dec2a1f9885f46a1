"""Integration tests run our code in this process on a real PostgreSQL and Redis, emptied between tests."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pytest_django import Settings

from runtimes.containers.fake.adapter import FakeDocker, FakeImage, shared_docker
from tests.conftest import RtmSettings
from tests.integration.harness import NETWORK, Rig, healthy_images
from tests.integration.notification_harness import QUEUED, QueuedNotifier
from tests.integration.rest_harness import IMAGE, INLINE_WORKER, NEXT_MINOR, NEXT_PATCH

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test here a database whose transactions are real: commits, locks and constraints are the point."""
    for item in items:
        if item.path.is_relative_to(_HERE) and item.get_closest_marker("django_db") is None:
            item.add_marker(pytest.mark.django_db(transaction=True))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_on_the_server: None) -> None:
    """These tests may use the database."""


@pytest.fixture(autouse=True)
def _real_servers(rtm_settings: RtmSettings, redis_url: str) -> None:
    rtm_settings(redis_url=redis_url, redis_master_addr="", celery_broker_url="")


@pytest.fixture
def rig(rtm_settings: RtmSettings, settings: Settings, tmp_path: Path) -> Iterator[Rig]:
    """Operations against an engine in memory; no hint reaches a worker, the test moves them by hand."""
    rtm_settings(game_state_root=str(tmp_path / "games"), docker_network=NETWORK, replacement_grace=timedelta())
    settings.RTM_CONTAINERS = "runtimes.containers.fake.adapter.FakeAdapter"
    settings.RTM_NOTIFIER = "operations.dispatch.Notifier"
    shared_docker.reset()
    shared_docker.networks.add(NETWORK)
    shared_docker.images.update(healthy_images())
    yield Rig(engine=shared_docker, state_root=tmp_path / "games")
    shared_docker.reset()


@pytest.fixture
def engine() -> Iterator[FakeDocker]:
    """The engine in memory of the tests over HTTP, with three images of one engine."""
    shared_docker.reset()
    shared_docker.networks.add(NETWORK)
    shared_docker.images.update({image_ref: FakeImage() for image_ref in (IMAGE, NEXT_PATCH, NEXT_MINOR)})
    yield shared_docker
    shared_docker.reset()


@pytest.fixture
def worker_at_hand(settings: Settings, rtm_settings: RtmSettings, tmp_path: Path) -> None:
    """Every accepted operation is done before its call waits for it."""
    settings.RTM_CONTAINERS = "runtimes.containers.fake.adapter.FakeAdapter"
    settings.RTM_NOTIFIER = INLINE_WORKER
    rtm_settings(game_state_root=str(tmp_path), docker_network=NETWORK, rest_wait_seconds=10.0)


@pytest.fixture
def trusted_network(worker_at_hand: None, rtm_settings: RtmSettings) -> None:
    """The same, for callers that need no token."""
    del worker_at_hand
    rtm_settings(api_auth="network")


@pytest.fixture
def no_worker(worker_at_hand: None, settings: Settings, rtm_settings: RtmSettings) -> None:
    """Operations stay open: no worker takes them, and calls do not wait long."""
    del worker_at_hand
    settings.RTM_NOTIFIER = "operations.dispatch.Notifier"
    rtm_settings(rest_wait_seconds=0.05)


@pytest.fixture
def queued_notifications(rig: Rig, settings: Settings) -> Iterator[None]:
    """Hints wait in a queue until the test lets a worker take one."""
    del rig  # it chooses its own hints first
    settings.RTM_NOTIFIER = QUEUED
    QueuedNotifier.queue.clear()
    yield
    QueuedNotifier.queue.clear()

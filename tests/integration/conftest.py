"""Integration tests run our code in this process on a real PostgreSQL and Redis, emptied between tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from runtimes.containers.fake import FakeEngine, FakeImage, shared_engine
from tests.conftest import RtmSettings
from tests.integration.hint_rigs import QUEUED, QueuedHints
from tests.integration.rest_rigs import IMAGE, NEXT_MINOR, NEXT_PATCH, WORKER_AT_HAND
from tests.integration.rigs import NETWORK, Rig, healthy_images

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
    rtm_settings(game_state_root=str(tmp_path / "games"), docker_network=NETWORK)
    settings.RTM_CONTAINERS = "runtimes.containers.fake.FakeContainers"
    settings.RTM_HINTS = "operations.dispatch.NoHints"
    shared_engine.reset()
    shared_engine.networks.add(NETWORK)
    shared_engine.images.update(healthy_images())
    yield Rig(engine=shared_engine, state_root=tmp_path / "games")
    shared_engine.reset()


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """The engine in memory of the tests over HTTP, with three images of one engine."""
    shared_engine.reset()
    shared_engine.networks.add(NETWORK)
    shared_engine.images.update({image_ref: FakeImage() for image_ref in (IMAGE, NEXT_PATCH, NEXT_MINOR)})
    yield shared_engine
    shared_engine.reset()


@pytest.fixture
def worker_at_hand(settings: Settings, rtm_settings: RtmSettings, tmp_path: Path) -> None:
    """Every accepted operation is done before its call waits for it."""
    settings.RTM_CONTAINERS = "runtimes.containers.fake.FakeContainers"
    settings.RTM_HINTS = WORKER_AT_HAND
    rtm_settings(game_state_root=str(tmp_path), docker_network=NETWORK, rest_wait_seconds=10.0)


@pytest.fixture
def trusted_network(worker_at_hand: None, rtm_settings: RtmSettings) -> None:
    """The same, for callers that need no token."""
    del worker_at_hand
    rtm_settings(api_auth="network")


@pytest.fixture
def no_worker(worker_at_hand: None, settings: Settings, rtm_settings: RtmSettings) -> None:
    """Operations stay open: nobody takes them up, and the calls do not wait long."""
    del worker_at_hand
    settings.RTM_HINTS = "operations.dispatch.NoHints"
    rtm_settings(rest_wait_seconds=0.05)


@pytest.fixture
def queued_hints(rig: Rig, settings: Settings) -> Iterator[None]:
    """Hints wait in a queue until the test lets a worker take one."""
    del rig  # it chooses its own hints first
    settings.RTM_HINTS = QUEUED
    QueuedHints.queue.clear()
    yield
    QueuedHints.queue.clear()

"""When the daemon was started: promised by both adapters, and on a real Docker true across a restart."""

from datetime import UTC, datetime, timedelta

import pytest

from runtimes.containers.base import ContainersUnavailableError
from runtimes.containers.fake.adapter import FakeAdapter, FakeDocker
from tests.contract.container_backends import Lab


def test_the_start_of_the_daemon_does_not_change(lab: Lab) -> None:
    first = lab.containers.daemon_started_at()
    lab.run()

    assert first is not None
    assert lab.containers.daemon_started_at() == first


def test_what_is_started_now_is_younger_than_the_daemon(lab: Lab) -> None:
    daemon_started_at = lab.containers.daemon_started_at()

    container = lab.containers.find(lab.run())

    assert container is not None
    assert container.started_at is not None
    assert daemon_started_at is not None
    assert daemon_started_at.tzinfo is not None
    assert daemon_started_at < container.started_at < datetime.now(UTC) + timedelta(minutes=1)


def test_a_daemon_that_is_away_does_not_answer(lab: Lab) -> None:
    with pytest.raises(ContainersUnavailableError):
        lab.unreachable.daemon_started_at()


def test_the_daemon_in_memory_restarts_as_docker_does() -> None:
    daemon = FakeDocker()
    containers = FakeAdapter(daemon)
    first = containers.daemon_started_at()

    daemon.restart()

    second = containers.daemon_started_at()
    assert first is not None
    assert second is not None
    assert first < second

"""The scheduler on a real database and broker: the leader sends one message per tick."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from django.conf import settings

from rtmanager.celery import app as app_of_the_service
from runtimes.exceptions import ServiceUnavailableError
from tasks.broker import waiting_messages
from tasks.loops.leader_election import LeaderElection
from tasks.loops.scheduler import Scheduler
from tests.integration.tasks.loops.test_leader_election import Process
from tests.servers.databases import RedisServer
from tests.servers.waiting import wait_for

NOWHERE = "redis://127.0.0.1:1/0"
QUICK = {"task": "rtmanager.quick", "every_seconds": 0.2, "expires_seconds": 60.0, "queue": "periodic"}
# Its next tick is in the far future, or the test runs at a very special moment.
SELDOM = {**QUICK, "task": "rtmanager.seldom", "every_seconds": 1e12, "queue": "lifecycle"}


def celery_on(url: str) -> Celery:
    """An application that sends like the service's own, from now on in its place."""
    app = Celery("clock", broker=url)
    app.conf.broker_transport_options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    app.set_current()
    return app


@pytest.fixture
def broker(redis_server: RedisServer, redis_url: str) -> Iterator[Celery]:
    """An empty broker."""
    del redis_url
    with celery_on(redis_server.url(1)) as app:
        yield app
    app_of_the_service.set_current()


@pytest.fixture
def clock() -> Iterator[Scheduler]:
    made = Scheduler({"quick": QUICK, "seldom": SELDOM}, leadership=LeaderElection("test-clock"))
    yield made
    made.close()


def waiting(app: Celery) -> dict[str, int]:
    return waiting_messages(app, ("lifecycle", "periodic"))


def go_on_until_sent(clock: Scheduler, app: Celery, *, messages: int) -> None:
    def look() -> bool:
        clock.step()
        return waiting(app)["periodic"] >= messages

    wait_for(look, what=f"{messages} message(s)")


def take(app: Celery, queue: str) -> dict[str, Any]:
    """The headers of the oldest message."""
    with app.connection_for_read() as connection, connection.SimpleQueue(queue) as messages:
        message = messages.get(timeout=5)
        message.ack()
        headers: dict[str, Any] = message.headers
        return headers


def test_only_due_tasks_are_sent(clock: Scheduler, broker: Celery) -> None:
    pause = clock.step()

    go_on_until_sent(clock, broker, messages=2)

    headers = take(broker, "periodic")
    assert headers["task"] == "rtmanager.quick"
    assert headers["sent_at"] > 0
    assert headers["expires"] is not None
    assert waiting(broker)["lifecycle"] == 0
    assert 0 < pause <= 0.2


def test_a_new_leader_waits_for_the_next_tick(clock: Scheduler, broker: Celery) -> None:
    clock.step()

    assert waiting(broker) == {"lifecycle": 0, "periodic": 0}


def test_a_standby_sends_nothing(clock: Scheduler, broker: Celery) -> None:
    leader = Process("test-clock")
    leader.hold()

    pauses = [clock.step() for _turn in range(2)]

    assert pauses == [1.0, 1.0]
    assert waiting(broker)["periodic"] == 0
    leader.end()
    go_on_until_sent(clock, broker, messages=1)


def test_one_message_per_task_waits_for_an_unavailable_broker(clock: Scheduler, broker: Celery) -> None:
    clock.step()
    with celery_on(NOWHERE):
        wait_for(lambda: _is_refused(clock), what="a tick without a worker")
        refused_again = _is_refused(clock)
    broker.set_current()

    clock.step()

    assert refused_again
    assert waiting(broker)["periodic"] == 1


def _is_refused(clock: Scheduler) -> bool:
    try:
        clock.step()
    except ServiceUnavailableError:
        return True
    return False

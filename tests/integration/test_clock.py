"""The clock on a real database and a real broker: one message a tick, from whoever leads."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from django.conf import settings

from rtmanager.celery import app as app_of_the_service
from runtimes.exceptions import ServiceUnavailableError
from tasks.clock import Clock
from tasks.leadership import Leadership
from tasks.watchdog import waiting_messages
from tests.integration.test_leadership import Process
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
def clock() -> Iterator[Clock]:
    made = Clock({"quick": QUICK, "seldom": SELDOM}, leadership=Leadership("test-clock"))
    yield made
    made.close()


def waiting(app: Celery) -> dict[str, int]:
    return waiting_messages(app, ("lifecycle", "periodic"))


def go_on_until_sent(clock: Clock, app: Celery, *, messages: int) -> None:
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


def test_what_is_due_is_sent_and_what_is_not_is_not(clock: Clock, broker: Celery) -> None:
    pause = clock.step()

    go_on_until_sent(clock, broker, messages=2)

    headers = take(broker, "periodic")
    assert headers["task"] == "rtmanager.quick"
    assert headers["sent_at"] > 0
    assert headers["expires"] is not None
    assert waiting(broker)["lifecycle"] == 0
    assert 0 < pause <= 0.2


def test_who_begins_to_lead_waits_for_the_next_tick(clock: Clock, broker: Celery) -> None:
    clock.step()

    assert waiting(broker) == {"lifecycle": 0, "periodic": 0}


def test_who_stands_by_sends_nothing(clock: Clock, broker: Celery) -> None:
    leader = Process("test-clock")
    leader.hold()

    pauses = [clock.step() for _turn in range(2)]

    assert pauses == [5.0, 5.0]
    assert waiting(broker)["periodic"] == 0
    leader.end()
    go_on_until_sent(clock, broker, messages=1)


def test_while_the_broker_is_away_one_message_of_a_task_waits_for_it(clock: Clock, broker: Celery) -> None:
    clock.step()
    with celery_on(NOWHERE):
        wait_for(lambda: _is_refused(clock), what="a tick with nobody to take its message")
        refused_again = _is_refused(clock)
    broker.set_current()

    clock.step()

    assert refused_again
    assert waiting(broker)["periodic"] == 1


def _is_refused(clock: Clock) -> bool:
    try:
        clock.step()
    except ServiceUnavailableError:
        return True
    return False

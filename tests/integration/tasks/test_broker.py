"""Waiting messages per queue, on a real broker."""

import pytest
from celery import Celery
from django.conf import settings
from kombu.exceptions import OperationalError
from kombu.utils import functional as kombu_functional

from tasks.broker import waiting_messages
from tests.servers.databases import RedisServer

QUEUES = ("lifecycle", "periodic")


def celery_on(url: str) -> Celery:
    app = Celery("test", broker=url)
    app.conf.broker_transport_options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    return app


def test_messages_are_counted_per_queue_and_stay_there(redis_server: RedisServer) -> None:
    with celery_on(redis_server.url(1)) as app:
        for _ in range(3):
            app.send_task("rtmanager.start_runtime", args=[1], queue="lifecycle")

        assert waiting_messages(app, QUEUES) == {"lifecycle": 3, "periodic": 0}
        assert waiting_messages(app, QUEUES) == {"lifecycle": 3, "periodic": 0}


def test_an_unreachable_broker_gives_no_counts_and_does_not_block() -> None:
    with celery_on("redis://127.0.0.1:1/0") as app:
        assert waiting_messages(app, QUEUES) == {}


def test_a_message_for_an_unreachable_broker_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(kombu_functional, "sleep", pauses.append)
    with celery_on("redis://127.0.0.1:1/0") as app, app.producer_pool.acquire() as producer:
        for _ in range(2):
            with pytest.raises(OperationalError):
                app.send_task("rtmanager.start_runtime", args=[1], queue="lifecycle", retry=False, producer=producer)

    assert pauses == []

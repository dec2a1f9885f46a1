"""The integration suite's own ground: real servers, migrated once, empty at the start of each test."""

import pytest
import redis
from django.conf import settings
from django.db import connection

from operations.models import OutboxEvent
from operations.states import Topic


@pytest.mark.parametrize("_round", [1, 2])
def test_each_test_finds_an_empty_database(_round: int) -> None:
    before = OutboxEvent.objects.count()
    OutboxEvent.objects.create(topic=Topic.DEAD_LETTERS, dedupe_key="same", fields={})

    assert before == 0
    assert connection.vendor == "postgresql"


@pytest.mark.parametrize("_round", [1, 2])
def test_each_test_finds_an_empty_redis(_round: int) -> None:
    client = redis.Redis.from_url(settings.RTMANAGER.streams_url)
    before = client.dbsize()
    client.set("same", "value")

    assert before == 0

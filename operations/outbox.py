"""The outbox: what must be said is written with what happened, and published afterwards, once, in order."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models.functions import Now

from operations.models import OutboxEvent
from operations.prepared import Prepared
from operations.states import Topic

# PostgreSQL notifies this channel for every statement that adds events (trigger in migration 0001).
WAKE_CHANNEL = "rtm_outbox"

# By hand, like the look for what is unpublished: every operation needs both, and to have them written takes longer than
# to have them done. ``source`` ends with the set of messages; it comes from our own modules alone.
QUEUE = """INSERT INTO operations_outboxevent (topic, dedupe_key, game_id, fields, stream_entry_id)
        SELECT one.topic, one.dedupe_key, one.game_id, one.fields, ''
          FROM {source} AS one (place integer, topic text, dedupe_key text, game_id text, fields jsonb)
         ORDER BY one.place
            ON CONFLICT (dedupe_key) DO NOTHING"""
_QUEUE_THESE = QUEUE.format(source="jsonb_to_recordset(%s)")
_UNPUBLISHED = Prepared(
    "unpublished_events",
    """
    SELECT id, topic, dedupe_key, fields FROM operations_outboxevent
     WHERE published_at IS NULL AND topic <> ALL (%(without)s) ORDER BY id LIMIT %(limit)s
    """,
)


@dataclass(frozen=True, slots=True)
class Message:
    """One event to be queued. ``dedupe_key`` names it for ever."""

    topic: Topic
    dedupe_key: str
    game_id: str
    fields: Mapping[str, str]


class Queued(NamedTuple):
    """An event that waits to be published."""

    id: int
    topic: Topic
    dedupe_key: str
    fields: Mapping[str, str]


def queue(messages: Sequence[Message]) -> None:
    """Queue messages in the caller's transaction, in order. Idempotent: a key already known adds nothing."""
    if messages:
        with connection.cursor() as cursor:
            cursor.execute(_QUEUE_THESE, [json.dumps(rows(messages))])


def rows(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages as ``QUEUE`` wants them."""
    return [{"place": place, **asdict(one)} for place, one in enumerate(messages)]


def unpublished(*, limit: int, without: Collection[Topic] = ()) -> list[Queued]:
    """The oldest events not yet published, in the order in which they must be; those of some topics left out."""
    with connection.cursor() as cursor:
        cursor.execute(*_UNPUBLISHED.bind({"without": list(without), "limit": limit}))
        found = cursor.fetchall()
    return [Queued(event_id, Topic(topic), key, json.loads(fields)) for event_id, topic, key, fields in found]


def mark_published(entry_ids: Mapping[int, str]) -> None:
    """Note that events (by id) are on their streams under these entry ids."""
    pairs = ", ".join(["(%s::bigint, %s::text)"] * len(entry_ids))
    params = [value for pair in entry_ids.items() for value in pair]
    with connection.cursor() as cursor:
        cursor.execute(
            f"""UPDATE operations_outboxevent AS event SET published_at = now(), stream_entry_id = done.entry_id
                  FROM (VALUES {pairs}) AS done (id, entry_id) WHERE event.id = done.id""",  # noqa: S608 - placeholders
            params,
        )


def published_at(dedupe_keys: Collection[str]) -> dict[str, datetime]:
    """When the events of these keys were published; those that are not yet are left out."""
    found = OutboxEvent.objects.filter(dedupe_key__in=dedupe_keys, published_at__isnull=False)
    return {key: at for key, at in found.values_list("dedupe_key", "published_at") if at is not None}


def published_since(topic: Topic, *, window: timedelta) -> list[tuple[int, str]]:
    """(event id, stream entry id) of what was published within the window before now."""
    recent = OutboxEvent.objects.filter(topic=topic, published_at__gt=Now() - window)
    return list(recent.order_by("id").values_list("id", "stream_entry_id"))


def published_ids(*, window: timedelta, topics: Collection[Topic]) -> list[int]:
    """The events of these topics published within the window before now, in their order."""
    recent = OutboxEvent.objects.filter(topic__in=topics, published_at__gt=Now() - window)
    return list(recent.order_by("id").values_list("id", flat=True))


def publish_again(event_ids: Sequence[int]) -> int:
    """Mark events as unpublished; the relay takes them up again. Returns how many."""
    return OutboxEvent.objects.filter(pk__in=event_ids).update(published_at=None, stream_entry_id="")


def forget_published_before(*, age: timedelta, limit: int) -> int:
    """Delete up to ``limit`` events published longer ago than ``age``; returns how many."""
    old = OutboxEvent.objects.filter(published_at__lt=Now() - age).order_by("id").values_list("pk", flat=True)[:limit]
    deleted, _per_model = OutboxEvent.objects.filter(pk__in=list(old)).delete()
    return deleted

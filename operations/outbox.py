"""The outbox: messages are written in the transaction of their cause, and published afterwards, once and in order."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models.functions import Now

from operations.models import OutboxEvent
from operations.queue.database import Prepared
from operations.states import Topic

# PostgreSQL notifies this channel for every statement that adds events (trigger in migration 0001).
WAKE_CHANNEL = "rtm_outbox"
# Published events are kept for diagnosis and republishing. The operation log itself is kept forever.
PUBLISHED_KEPT = timedelta(days=30)
# Events that Redis lost are published again automatically up to this age; for older ones the operator decides.
REPUBLISHED_WITHIN = timedelta(hours=24)
# Redis remembers for much longer which events were published. An older one may be published twice.
DEDUPE_KEPT = timedelta(days=7)

# Raw SQL: every operation runs these two statements, and building them with the ORM takes longer than executing them.
# Purpose: insert messages in order; a known dedupe key adds nothing. ``source`` ends with the set of messages; only
# modules of this package fill it in. Locks: the inserted rows.
QUEUE = """INSERT INTO operations_outboxevent (topic, dedupe_key, game_id, fields, stream_entry_id)
        SELECT message.topic, message.dedupe_key, message.game_id, message.fields, ''
          FROM {source} AS message (position integer, topic text, dedupe_key text, game_id text, fields jsonb)
         ORDER BY message.position
            ON CONFLICT (dedupe_key) DO NOTHING"""
_QUEUE_THESE = QUEUE.format(source="jsonb_to_recordset(%s)")
# Purpose: the oldest unpublished messages, in the order in which they must be published. Locks: none.
_UNPUBLISHED = Prepared(
    "unpublished_events",
    """
    SELECT id, topic, dedupe_key, fields FROM operations_outboxevent
     WHERE published_at IS NULL AND topic <> ALL (%(without)s) ORDER BY id LIMIT %(limit)s
    """,
)


@dataclass(frozen=True, slots=True)
class Message:
    """A message to be queued. ``dedupe_key`` identifies it forever."""

    topic: Topic
    dedupe_key: str
    game_id: str
    fields: Mapping[str, str]


class QueuedEvent(NamedTuple):
    """An event that waits to be published."""

    id: int
    topic: Topic
    dedupe_key: str
    fields: Mapping[str, str]


def queue(messages: Sequence[Message]) -> None:
    """Queue messages in the caller's transaction, in order. Idempotent: a known dedupe key adds nothing."""
    if messages:
        with connection.cursor() as cursor:
            cursor.execute(_QUEUE_THESE, [json.dumps(rows(messages))])


def rows(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages as input of ``QUEUE``."""
    return [{"position": position, **asdict(message)} for position, message in enumerate(messages)]


def unpublished(*, limit: int, without: Collection[Topic] = ()) -> list[QueuedEvent]:
    """The oldest unpublished events, in the order of publication, without those of some topics."""
    with connection.cursor() as cursor:
        cursor.execute(*_UNPUBLISHED.bind({"without": list(without), "limit": limit}))
        rows = cursor.fetchall()
    return [QueuedEvent(event_id, Topic(topic), key, json.loads(fields)) for event_id, topic, key, fields in rows]


def mark_published(entry_ids: Mapping[int, str]) -> None:
    """Record the stream entry ids of published events (by event id)."""
    pairs = ", ".join(["(%s::bigint, %s::text)"] * len(entry_ids))
    params = [value for pair in entry_ids.items() for value in pair]
    with connection.cursor() as cursor:
        cursor.execute(
            f"""UPDATE operations_outboxevent AS event SET published_at = now(), stream_entry_id = done.entry_id
                  FROM (VALUES {pairs}) AS done (id, entry_id) WHERE event.id = done.id""",  # noqa: S608 - placeholders
            params,
        )


def published_at(dedupe_keys: Collection[str]) -> dict[str, datetime]:
    """Dedupe key → when the event was published; unpublished events are left out."""
    published = OutboxEvent.objects.filter(dedupe_key__in=dedupe_keys, published_at__isnull=False)
    return {key: at for key, at in published.values_list("dedupe_key", "published_at") if at is not None}


def published_since(topics: Collection[Topic], *, window: timedelta) -> list[tuple[int, str]]:
    """(event id, stream entry id) of the events of these topics published within the window before now, in order."""
    recent = OutboxEvent.objects.filter(topic__in=topics, published_at__gt=Now() - window)
    return list(recent.order_by("id").values_list("id", "stream_entry_id"))


def publish_again(event_ids: Sequence[int]) -> int:
    """Mark events as unpublished, so that the relay publishes them again; returns how many."""
    return OutboxEvent.objects.filter(pk__in=event_ids).update(published_at=None, stream_entry_id="")


def delete_published_before(*, age: timedelta, limit: int) -> int:
    """Delete up to ``limit`` events published longer than ``age`` ago; returns how many."""
    old = OutboxEvent.objects.filter(published_at__lt=Now() - age).order_by("id").values_list("pk", flat=True)[:limit]
    deleted, _per_model = OutboxEvent.objects.filter(pk__in=list(old)).delete()
    return deleted

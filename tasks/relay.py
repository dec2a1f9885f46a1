"""From the outbox to the streams: in order, exactly once, whatever dies in between."""

import select
import time
from collections.abc import Mapping
from datetime import timedelta
from itertools import groupby

import structlog
from django.conf import settings
from django.db import connection

from operations import outbox
from operations.outbox import Queued
from operations.states import Topic
from tasks.leadership import Leadership
from tasks.messages import in_contract_order
from tasks.streams.base import EventStreams, Publication, StreamRefusedError, parse_entry_id

log = structlog.get_logger(__name__)

_BATCH = 200
_STANDBY_SECONDS = 1.0
_LONGEST_SLEEP_SECONDS = 1.0
_REFUSED_SECONDS = 10.0
_AUDIT_SECONDS = 3600.0
# How far back a tail that Redis lost is published again without being asked; older ones are the operator's call.
_AUDIT_WINDOW = timedelta(hours=24)


def event_streams() -> dict[str, str]:
    """The stream of each topic in this installation."""
    config = settings.RTMANAGER
    return {
        Topic.JOB_RESULTS: config.job_results_stream,
        Topic.HEALTH_EVENTS: config.health_events_stream,
        Topic.NOTIFICATION_INTENTS: config.notification_intents_stream,
        Topic.DEAD_LETTERS: config.dead_letters_stream,
    }


class Relay:
    """Publishes queued events in the order of their ids. One process does it at a time.

    Publishing is idempotent (EventStreams.publish_once), so dying between publication and mark repeats nothing.
    """

    name = "relay"

    def __init__(self, streams: EventStreams, *, names: Mapping[str, str], leadership: Leadership) -> None:
        self._streams = streams
        self._names = names
        self._leadership = leadership
        self._next_audit = 0.0
        self._set_aside_until: dict[Topic, float] = {}

    def step(self) -> float:
        """See Loop."""
        if self._leadership.is_fresh():
            self._next_audit = 0.0
        if not self._leadership.hold(asks_next=True):
            return _STANDBY_SECONDS
        if self._next_audit == 0.0:
            self._listen()
        if time.monotonic() >= self._next_audit:
            self._audit()
        events = outbox.unpublished(limit=_BATCH, without=self._set_aside())
        if events:
            self._publish_by_topic(events)
        else:
            self._sleep_until_woken()
        return 0.0

    def reset(self) -> None:
        """See Loop."""
        self._next_audit = 0.0

    def close(self) -> None:
        """See Loop."""
        self._leadership.resign()

    def _publish_by_topic(self, events: list[Queued]) -> None:
        try:
            self._publish(events)
        except StreamRefusedError:
            # One stream that a person must mend does not hold up the others. What went through is marked in Redis.
            for topic, of_topic in _by_topic(events):
                try:
                    self._publish(list(of_topic))
                except StreamRefusedError as error:
                    self._set_aside_until[topic] = time.monotonic() + _REFUSED_SECONDS
                    log.error("stream_refused", topic=topic, stream=self._names[topic], reason=error.message)  # noqa: TRY400 - no traceback: the reason says it all

    def _set_aside(self) -> list[Topic]:
        now = time.monotonic()
        return [topic for topic, until in self._set_aside_until.items() if until > now]

    def _publish(self, events: list[Queued]) -> None:
        publications = [self._publication(one) for one in events]
        entry_ids = self._streams.publish_once(publications)
        outbox.mark_published({one.id: entry_id for one, entry_id in zip(events, entry_ids, strict=True)})
        log.info("events_published", **{topic: len(list(group)) for topic, group in _by_topic(events)})

    def _publication(self, event: Queued) -> Publication:
        fields = in_contract_order(event.topic, event.fields)
        return Publication(self._names[event.topic], event.dedupe_key, fields)

    def _audit(self) -> None:
        """Redis that came back without its last writes gets them again."""
        for topic, stream in self._names.items():
            try:
                last = parse_entry_id(self._streams.last_entry_id(stream))
            except StreamRefusedError:
                # Publishing to it will say so.
                continue
            recent = outbox.published_since(Topic(topic), window=_AUDIT_WINDOW)
            lost = [event_id for event_id, entry_id in recent if parse_entry_id(entry_id) > last]
            if lost:
                log.warning("published_events_lost", stream=stream, events=len(lost))
                outbox.publish_again(lost)
        self._next_audit = time.monotonic() + _AUDIT_SECONDS

    def _listen(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {outbox.WAKE_CHANNEL}")

    def _sleep_until_woken(self) -> None:
        raw = connection.connection
        select.select([raw], [], [], _LONGEST_SLEEP_SECONDS)
        with connection.wrap_database_errors:
            raw.poll()
        raw.notifies.clear()


def _by_topic(events: list[Queued]) -> "groupby[Topic, Queued]":
    topics = sorted(events, key=lambda one: one.topic)
    return groupby(topics, key=lambda one: one.topic)

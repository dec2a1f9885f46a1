"""The relay: publishes the outbox to the streams, in order and exactly once, even if a process dies in between."""

import select
import time
from collections.abc import Mapping
from itertools import groupby

import structlog
from django.conf import settings
from django.db import connection

from operations import outbox
from operations.messages import in_contract_order, parse_entry_id
from operations.outbox import QueuedEvent
from operations.states import Topic
from tasks.loops.base import Loop
from tasks.loops.leader_election import LeaderElection
from tasks.streams.base import EventStreams, Publication, StreamRefusedError

log = structlog.get_logger(__name__)

_BATCH = 200
_LONGEST_SLEEP_SECONDS = 1.0
_RETRY_REFUSED_SECONDS = 10.0
_AUDIT_SECONDS = 3600.0


def event_streams() -> dict[str, str]:
    """Return the stream of each topic in this installation."""
    config = settings.RTMANAGER
    return {
        Topic.JOB_RESULTS: config.job_results_stream,
        Topic.HEALTH_EVENTS: config.health_events_stream,
        Topic.NOTIFICATION_INTENTS: config.notification_intents_stream,
        Topic.DEAD_LETTERS: config.dead_letters_stream,
    }


class Relay(Loop):
    """Publishes queued events in the order of their ids. One process does this at a time.

    Publishing is idempotent (``EventStreams.publish_once``). So a crash between publication and mark repeats nothing.
    """

    name = "relay"
    always_queries = True

    def __init__(
        self, streams: EventStreams, *, names: Mapping[str, str], leadership: LeaderElection | None = None
    ) -> None:
        super().__init__(leadership)
        self._streams = streams
        self._names = names
        self._next_audit = 0.0
        self._refused_until: dict[Topic, float] = {}

    def lead(self) -> float:
        if self._next_audit == 0.0:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {outbox.WAKE_CHANNEL}")
        if time.monotonic() >= self._next_audit:
            self._audit()
        now = time.monotonic()
        refused = [topic for topic, until in self._refused_until.items() if until > now]
        events = outbox.unpublished(limit=_BATCH, without=refused)
        if events:
            self._publish_by_topic(events)
        else:
            self._sleep_until_notified()
        return 0.0

    def reset(self) -> None:
        self._next_audit = 0.0

    def _publish_by_topic(self, events: list[QueuedEvent]) -> None:
        try:
            self._publish(events)
        except StreamRefusedError:
            # A stream that needs an operator must not block the others. Redis has marked what was published.
            for topic, topic_events in _by_topic(events):
                try:
                    self._publish(list(topic_events))
                except StreamRefusedError as error:
                    self._refused_until[topic] = time.monotonic() + _RETRY_REFUSED_SECONDS
                    log.error("stream_refused", topic=topic, stream=self._names[topic], reason=error.message)  # noqa: TRY400 - the reason says it all

    def _publish(self, events: list[QueuedEvent]) -> None:
        entry_ids = self._streams.publish_once(
            [
                Publication(self._names[event.topic], event.dedupe_key, in_contract_order(event.topic, event.fields))
                for event in events
            ]
        )
        outbox.mark_published({event.id: entry_id for event, entry_id in zip(events, entry_ids, strict=True)})
        log.info("events_published", **{topic: len(list(group)) for topic, group in _by_topic(events)})

    def _audit(self) -> None:
        """Publish again what a Redis that came back without its last writes has lost."""
        for topic, stream in self._names.items():
            try:
                last = parse_entry_id(self._streams.last_entry_id(stream))
            except StreamRefusedError:
                # Publishing to this stream reports the error.
                continue
            recent = outbox.published_since([Topic(topic)], window=outbox.REPUBLISHED_WITHIN)
            lost = [event_id for event_id, entry_id in recent if parse_entry_id(entry_id) > last]
            if lost:
                log.warning("published_events_lost", stream=stream, events=len(lost))
                outbox.publish_again(lost)
        self._next_audit = time.monotonic() + _AUDIT_SECONDS

    def _sleep_until_notified(self) -> None:
        raw = connection.connection
        select.select([raw], [], [], _LONGEST_SLEEP_SECONDS)
        with connection.wrap_database_errors:
            raw.poll()
        raw.notifies.clear()


def _by_topic(events: list[QueuedEvent]) -> "groupby[Topic, QueuedEvent]":
    return groupby(sorted(events, key=lambda event: event.topic), key=lambda event: event.topic)

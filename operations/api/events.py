"""The events of the streams over HTTP: list and follow."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api.completion import idle
from operations.models import OutboxEvent
from operations.states import Topic
from runtimes.api.base.openapi import describe
from runtimes.api.base.pagination import DEFAULT_LIMIT, MAX_LIMIT, page_of
from runtimes.api.base.parsers import Query, QueryChoice, QueryGameId, QueryInteger
from runtimes.api.base.views import ApiView
from runtimes.exceptions import ErrorCode, ServiceUnavailableError

LONGEST_WAIT_SECONDS = 30
# Each held call uses a thread of the web process, and actions need threads too.
MAX_FOLLOWERS = 8
_POLL_SECONDS = 0.5
_HIGHEST_ID = 2**63 - 1

_followers = threading.BoundedSemaphore(MAX_FOLLOWERS)


@extend_schema_serializer(component_name="Event")
class EventSerializer(serializers.Serializer[Any]):
    """One message to a stream, with its stream entry."""

    id = serializers.CharField(read_only=True, help_text="Numeric; a later event has a higher one.")
    topic = serializers.ChoiceField(choices=Topic.choices, read_only=True)
    game_id = serializers.CharField(read_only=True, help_text="Empty if it is about no game.")
    # DRF removes declared fields from the class, so this name does not hide Serializer.fields.
    fields = serializers.DictField(child=serializers.CharField(), read_only=True)  # type: ignore[assignment]
    created_at = serializers.DateTimeField(read_only=True)
    published_at = serializers.DateTimeField(read_only=True, allow_null=True)
    stream_entry_id = serializers.CharField(read_only=True, help_text="Empty until it is published.")


EventList = page_of(EventSerializer, "EventList", "Events, oldest first.")


class EventQuery(Query):
    """Which events a caller wants, and for how long the call waits for them."""

    after = serializers.RegexField(
        "^(0|[1-9][0-9]{0,18})$",
        required=False,
        trim_whitespace=False,
        error_messages=dict.fromkeys(("invalid", "blank"), "must be the id of an event, or 0"),
        help_text="Only events after this id, oldest first; without it, the newest events.",
    )
    topic = QueryChoice(Topic.values, help_text="Only events of this topic.")
    game_id = QueryGameId(help_text="Only of this game.")
    wait = QueryInteger(
        minimum=0,
        maximum=LONGEST_WAIT_SECONDS,
        default=0,
        help_text="Without events, hold the call for this many seconds, at most `RTMANAGER_REST_WAIT_SECONDS`.",
    )
    limit = QueryInteger(minimum=1, maximum=MAX_LIMIT, default=DEFAULT_LIMIT, help_text="The maximum number of items.")


class EventListView(ApiView):
    """All stored events, published or not."""

    @describe(
        "internalListEvents",
        "List or follow the events that go to the streams, oldest first",
        EventList,
        ErrorCode.INVALID_REQUEST,
        parameters=[EventQuery],
    )
    def get(self, request: Request) -> Response:
        """To follow, call again with `after` set to the last id and with `wait`. At most 8 calls are held at once.

        Transactions may commit in another order than their ids. A client that must not miss an event reads the streams.
        """
        filters = EventQuery.read(request)
        wait = min(filters.pop("wait"), settings.RTMANAGER.rest_wait_seconds)
        limit, after = filters.pop("limit"), filters.pop("after", None)
        rows = OutboxEvent.objects.filter(**filters)
        if after is None:
            return _respond(list(rows.order_by("-id")[:limit])[::-1])
        found = rows.filter(id__gt=min(int(after), _HIGHEST_ID)).order_by("id")[:limit]
        return _respond(_hold(found, seconds=wait))


def _respond(events: list[OutboxEvent]) -> Response:
    return Response({"items": EventSerializer(events, many=True).data})


def _hold(wanted: QuerySet[OutboxEvent], *, seconds: float) -> list[OutboxEvent]:
    """Return events as soon as there are any; none if the time is over or the process shuts down."""
    deadline = time.monotonic() + seconds
    found = list(wanted.all())
    if found or not seconds:
        return found
    with _follower_slot():
        while not found and (left := deadline - time.monotonic()) > 0 and idle(min(left, _POLL_SECONDS)):
            found = list(wanted.all())
    return found


@contextmanager
def _follower_slot() -> Iterator[None]:
    if not _followers.acquire(blocking=False):
        message = f"{MAX_FOLLOWERS} calls are already held; retry later, or without wait"
        raise ServiceUnavailableError(message)
    try:
        yield
    finally:
        _followers.release()

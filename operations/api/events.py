"""What the service tells its neighbours, to be read and followed over HTTP."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api.waiting import idle
from operations.models import OutboxEvent
from operations.states import Topic
from runtimes.api.base import ContractView
from runtimes.api.paging import read_page
from runtimes.api.schema import ALWAYS, PAGE, errors
from runtimes.exceptions import ErrorCode, InvalidRequestError, ServiceUnavailableError
from runtimes.games import GAME_ID_PATTERN, check_game_id

LONGEST_WAIT_SECONDS = 30
# Each held call costs one of the web process's threads, which the verbs need as well.
MAX_FOLLOWERS = 8
_LOOK_EVERY_SECONDS = 0.5
_EVENT_ID = re.compile(r"0|[1-9][0-9]{0,18}")
_HIGHEST_ID = 2**63 - 1
_SECONDS = re.compile(r"[0-9]{1,2}")

_followers = threading.BoundedSemaphore(MAX_FOLLOWERS)


@extend_schema_serializer(component_name="Event")
class EventSerializer(serializers.Serializer[Any]):
    """One message to a stream: what it says, and where it went."""

    id = serializers.CharField(read_only=True, help_text="Numeric; a later event has a higher one.")
    topic = serializers.ChoiceField(choices=Topic.choices, read_only=True)
    game_id = serializers.CharField(read_only=True, help_text="Empty when it is about none.")
    # Declared fields leave the class, so this one and the serializer's own list of them do not meet.
    fields = serializers.DictField(child=serializers.CharField(), read_only=True)  # type: ignore[assignment]
    created_at = serializers.DateTimeField(read_only=True)
    published_at = serializers.DateTimeField(read_only=True, allow_null=True)
    stream_entry_id = serializers.CharField(read_only=True, help_text="Empty until it is published.")


@extend_schema_serializer(component_name="EventList")
class EventListSerializer(serializers.Serializer[Any]):
    """Events, oldest first."""

    items = EventSerializer(many=True, read_only=True)


_FILTERS = [
    OpenApiParameter(
        "after",
        {"type": "string", "pattern": "^(0|[1-9][0-9]{0,18})$"},
        description="Only events after this one's id, from the oldest on; without it, the newest ones.",
    ),
    OpenApiParameter("topic", enum=Topic.values, description="Only events of this topic."),
    OpenApiParameter(
        "game_id", {"type": "string", "pattern": f"^{GAME_ID_PATTERN}$"}, description="Only of this game."
    ),
    OpenApiParameter(
        "wait",
        {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT_SECONDS, "default": 0},
        description="Hold the call for so many seconds when there is nothing to tell, never longer than "
        "`RTMANAGER_REST_WAIT_SECONDS`.",
    ),
]


class EventListView(ContractView):
    """All events that are kept, published or not."""

    @extend_schema(
        operation_id="internalListEvents",
        summary="List or follow the events that go to the streams, oldest first",
        parameters=[*_FILTERS, PAGE[0], *ALWAYS],
        responses={200: EventListSerializer, **errors(ErrorCode.INVALID_REQUEST)},
    )
    def get(self, request: Request) -> Response:
        """To follow, ask again with `after` set to the last id seen and with `wait`. At most 8 calls are held at once.

        Transactions may end in another order than they took their ids: whoever must not miss any reads the streams.
        """
        rows, wait = _rows(request), _read_wait(request)
        limit = read_page(request).limit
        after = _read_after(request)
        if after is None:
            newest = list(rows.order_by("-id")[:limit])
            return _answer(newest[::-1])
        found = rows.filter(id__gt=after).order_by("id")[:limit]
        return _answer(_hold(found, seconds=wait))


def _answer(events: list[OutboxEvent]) -> Response:
    return Response({"items": EventSerializer(events, many=True).data})


def _hold(wanted: QuerySet[OutboxEvent], *, seconds: float) -> list[OutboxEvent]:
    """The events as soon as there are any, or none when the time is over or the process ends."""
    deadline = time.monotonic() + seconds
    found = list(wanted.all())
    if found or not seconds:
        return found
    with _a_place():
        while not found and (left := deadline - time.monotonic()) > 0 and idle(min(left, _LOOK_EVERY_SECONDS)):
            found = list(wanted.all())
    return found


@contextmanager
def _a_place() -> Iterator[None]:
    if not _followers.acquire(blocking=False):
        message = f"{MAX_FOLLOWERS} calls are being held already; ask again later, or without wait"
        raise ServiceUnavailableError(message)
    try:
        yield
    finally:
        _followers.release()


def _rows(request: Request) -> QuerySet[OutboxEvent]:
    topic, game_id = request.query_params.get("topic"), request.query_params.get("game_id")
    rows = OutboxEvent.objects.all()
    if topic is not None:
        if topic not in Topic.values:
            message = f"topic: must be one of {', '.join(Topic.values)}"
            raise InvalidRequestError(message)
        rows = rows.filter(topic=topic)
    if game_id is not None:
        check_game_id(game_id)
        rows = rows.filter(game_id=game_id)
    return rows


def _read_after(request: Request) -> int | None:
    text = request.query_params.get("after")
    if text is None:
        return None
    if not _EVENT_ID.fullmatch(text):
        message = "after: must be the id of an event, or 0"
        raise InvalidRequestError(message)
    return min(int(text), _HIGHEST_ID)


def _read_wait(request: Request) -> float:
    text = request.query_params.get("wait", "0")
    if not _SECONDS.fullmatch(text) or int(text) > LONGEST_WAIT_SECONDS:
        message = f"wait: must be a whole number of seconds from 0 to {LONGEST_WAIT_SECONDS}"
        raise InvalidRequestError(message)
    return float(min(int(text), settings.RTMANAGER.rest_wait_seconds))

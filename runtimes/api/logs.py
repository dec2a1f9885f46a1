"""The log of a game's container: the last lines, or what comes as it comes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from runtimes.api.base import ContractView
from runtimes.api.live import container_of, present
from runtimes.api.schema import ALWAYS, GAME_ID, errors
from runtimes.containers import connect
from runtimes.containers.telemetry import LogLine
from runtimes.exceptions import ErrorCode, InvalidRequestError
from runtimes.following import MAX_FOLLOWERS, Follower

DEFAULT_TAIL = 200
MAX_TAIL = 2000
NDJSON = "application/x-ndjson"
_EXAMPLE = {"at": "2026-11-21T08:30:00.125000Z", "stream": "stdout", "line": "turn 1 begins"}
_QUERY = [
    OpenApiParameter(
        "tail",
        {"type": "integer", "minimum": 0, "maximum": MAX_TAIL, "default": DEFAULT_TAIL},
        description="How many of the last lines at most.",
    ),
    OpenApiParameter("since", OpenApiTypes.DATETIME, description="Only lines of this time or later; with a time zone."),
    OpenApiParameter(
        "follow",
        {"type": "boolean", "default": False},
        description=(
            f"Go on with what is written, as `{NDJSON}`: one item a line, an empty line every few seconds of silence. "
            f"The answer ends with the container; one that breaks off was not at its end. At most {MAX_FOLLOWERS} "
            "callers at a time."
        ),
    ),
]


class LogLineSerializer(serializers.Serializer[LogLine]):
    """One line that the engine program wrote."""

    at = serializers.DateTimeField(read_only=True, allow_null=True)
    stream = serializers.ChoiceField(choices=["stdout", "stderr"], read_only=True)
    line = serializers.CharField(read_only=True)


class LogSerializer(serializers.Serializer[Any]):
    """The last lines of a container, oldest first."""

    container_id = serializers.CharField(read_only=True)
    items = LogLineSerializer(many=True, read_only=True)


_EXAMPLE_LOG = OpenApiExample("lines", value={"container_id": "3f4e0d7a9c1b", "items": [_EXAMPLE]})


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What a caller wants of the log."""

    tail: int = DEFAULT_TAIL
    since: datetime | None = None
    follow: bool = False


class LogsView(ContractView):
    """The log of one game."""

    @extend_schema(
        operation_id="internalGetRuntimeLogs",
        summary="Read or follow the log of a game's container",
        parameters=[GAME_ID, *_QUERY, *ALWAYS],
        responses={
            (200, "application/json"): OpenApiResponse(LogSerializer, examples=[_EXAMPLE_LOG]),
            (200, NDJSON): OpenApiTypes.STR,
            **errors(ErrorCode.INVALID_REQUEST, ErrorCode.NOT_FOUND, ErrorCode.CONFLICT, ErrorCode.DOCKER_UNAVAILABLE),
        },
    )
    def get(self, request: Request, game_id: str) -> HttpResponseBase:
        """As the engine keeps it: nothing is redacted. ``conflict`` where its log driver keeps nothing."""
        query, container_id = read_query(request), container_of(game_id)
        with present(game_id):
            # A HEAD has no body to follow.
            if query.follow and request.method == "GET":
                return follow(container_id, query)
            lines = connect().logs(container_id, tail=query.tail, since=query.since)
        return Response(LogSerializer({"container_id": container_id, "items": lines}).data)


def follow(container_id: str, query: LogQuery) -> StreamingHttpResponse:
    """An answer that goes on until the log ends or the caller hangs up; the server then closes it."""
    follower = Follower(connect(), container_id, tail=query.tail, since=query.since)
    # Proxies that collect an answer before they pass it on would make this one late.
    return StreamingHttpResponse(Lines(follower), content_type=NDJSON, headers={"X-Accel-Buffering": "no"})


class Lines:
    """A follower's lines as NDJSON. Has a ``close``, unlike a generator also before its first item."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self.close = follower.close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """One or more lines of text, or an empty one."""
        return b"".join(map(_as_json, next(self._follower))) or b"\n"


def _as_json(line: LogLine) -> bytes:
    item: dict[str, Any] = LogLineSerializer(line).data
    return json.dumps(item, ensure_ascii=False).encode() + b"\n"


def read_query(request: Request) -> LogQuery:
    """``?tail=``, ``?since=`` and ``?follow=``. Raises InvalidRequestError for one that cannot be meant."""
    given = request.query_params
    return LogQuery(
        tail=_parse_tail(given.get("tail", str(DEFAULT_TAIL))),
        since=_parse_since(given["since"]) if "since" in given else None,
        follow=_parse_follow(given.get("follow", "false")),
    )


def _parse_tail(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(MAX_TAIL)) or int(text) > MAX_TAIL:
        message = f"tail: must be a whole number from 0 to {MAX_TAIL}"
        raise InvalidRequestError(message)
    return int(text)


def _parse_since(text: str) -> datetime:
    try:
        since = parse_datetime(text)
    except ValueError:
        since = None
    if since is None or since.tzinfo is None:
        message = "since: must be a time with a time zone like 2026-11-21T08:30:00Z"
        raise InvalidRequestError(message)
    return since


def _parse_follow(text: str) -> bool:
    if text not in {"true", "false"}:
        message = "follow: must be true or false"
        raise InvalidRequestError(message)
    return text == "true"

"""The log of a game's container, as last lines or as a stream of new lines, and its resource usage."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from runtimes.api.base.openapi import describe
from runtimes.api.base.parsers import Query, QueryBoolean, QueryInteger
from runtimes.api.base.views import ApiView
from runtimes.api.views import container_or_404, current_container_id
from runtimes.containers import connect
from runtimes.containers.log_followers import MAX_FOLLOWERS, Follower
from runtimes.containers.types import LogLine
from runtimes.exceptions import ErrorCode

DEFAULT_TAIL = 200
MAX_TAIL = 2000
_ERRORS = (ErrorCode.INVALID_REQUEST, ErrorCode.NOT_FOUND, ErrorCode.CONFLICT, ErrorCode.DOCKER_UNAVAILABLE)
NDJSON = "application/x-ndjson"
_EXAMPLE = {"at": "2026-11-21T08:30:00.125000Z", "stream": "stdout", "line": "turn 1 begins"}


class TimeWithZone(serializers.DateTimeField):
    """A time whose zone is known."""

    def to_internal_value(self, value: Any) -> datetime:
        try:
            at = parse_datetime(value)
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            message = "must be a time with a time zone like 2026-11-21T08:30:00Z"
            raise serializers.ValidationError(message)
        return at


class LogQuery(Query):
    """Which lines a caller wants."""

    tail = QueryInteger(
        minimum=0, maximum=MAX_TAIL, default=DEFAULT_TAIL, help_text="The maximum number of last lines."
    )
    since = TimeWithZone(default=None, help_text="Only lines since this time; with a time zone.")
    follow = QueryBoolean(
        default=False,
        help_text=f"Stream new lines as `{NDJSON}`: one item per line, and an empty line after a few seconds without "
        "output. The response ends when the container exits. A response that is cut off is incomplete. At most "
        f"{MAX_FOLLOWERS} callers at a time.",
    )


class LogLineSerializer(serializers.Serializer[LogLine]):
    """One line that the game engine wrote."""

    at = serializers.DateTimeField(read_only=True, allow_null=True)
    stream = serializers.ChoiceField(choices=["stdout", "stderr"], read_only=True)
    line = serializers.CharField(read_only=True)


class LogSerializer(serializers.Serializer[Any]):
    """The last lines of a container, oldest first."""

    container_id = serializers.CharField(read_only=True)
    items = LogLineSerializer(many=True, read_only=True)


_EXAMPLE_LOG = OpenApiExample("lines", value={"container_id": "3f4e0d7a9c1b", "items": [_EXAMPLE]})


class LogsView(ApiView):
    """The log of one game."""

    @describe(
        "internalGetRuntimeLogs",
        "Read or follow the log of a game's container",
        {
            (200, "application/json"): OpenApiResponse(LogSerializer, examples=[_EXAMPLE_LOG]),
            (200, NDJSON): OpenApiTypes.STR,
        },
        *_ERRORS,
        parameters=[LogQuery],
    )
    def get(self, request: Request, game_id: str) -> HttpResponseBase:
        """As Docker stores it: nothing is redacted. ``conflict`` if its log driver stores nothing."""
        query, container_id = LogQuery.read(request), current_container_id(game_id)
        # A HEAD response has no body to stream.
        is_followed = query.pop("follow") and request.method == "GET"
        with container_or_404(game_id):
            if is_followed:
                return follow(container_id, **query)
            lines = connect().logs(container_id, **query)
        return Response(LogSerializer({"container_id": container_id, "items": lines}).data)


def follow(container_id: str, *, tail: int, since: datetime | None) -> StreamingHttpResponse:
    """A response that streams until the log ends or the caller disconnects; the server then closes it."""
    follower = Follower(connect(), container_id, tail=tail, since=since)
    # Without this header, a buffering proxy would delay the lines.
    return StreamingHttpResponse(Lines(follower), content_type=NDJSON, headers={"X-Accel-Buffering": "no"})


class Lines:
    """A follower's lines as NDJSON. Unlike that of a generator, ``close`` also works before the first item."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self.close = follower.close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """Return one or more lines of JSON, or an empty line."""
        return b"".join(map(_as_json, next(self._follower))) or b"\n"


def _as_json(line: LogLine) -> bytes:
    item: dict[str, Any] = LogLineSerializer(line).data
    return json.dumps(item, ensure_ascii=False).encode() + b"\n"


_EXAMPLE_STATS: dict[str, Any] = {
    "container_id": "3f4e0d7a9c1b5e2f8a6d4c3b2a1908f7e6d5c4b3a29180716253443526170899",
    "at": "2026-11-21T08:30:00.125000Z",
    "cpu_percent": 12.5,
    "memory_bytes": 41943040,
    "memory_limit_bytes": 536870912,
    "pids": 7,
    "network_rx_bytes": 120400,
    "network_tx_bytes": 98000,
}


@extend_schema_serializer(component_name="RuntimeStats", examples=[OpenApiExample("running", value=_EXAMPLE_STATS)])
class StatsSerializer(serializers.Serializer[Any]):
    """One measurement."""

    container_id = serializers.CharField(read_only=True)
    at = serializers.DateTimeField(read_only=True)
    cpu_percent = serializers.FloatField(read_only=True, help_text="Percent of one core, over the second before `at`.")
    memory_bytes = serializers.IntegerField(read_only=True, help_text="Excludes the reclaimable page cache.")
    memory_limit_bytes = serializers.IntegerField(read_only=True)
    pids = serializers.IntegerField(read_only=True)
    network_rx_bytes = serializers.IntegerField(read_only=True, help_text="Since the start, sum of all networks.")
    network_tx_bytes = serializers.IntegerField(read_only=True)


class StatsView(ApiView):
    """The resource usage of one game."""

    @describe("internalGetRuntimeStats", "Measure the resource usage of a game's container", StatsSerializer, *_ERRORS)
    def get(self, _request: Request, game_id: str) -> Response:
        """Takes one second, over which Docker measures the CPU. ``conflict`` if the container does not run."""
        container_id = current_container_id(game_id)
        with container_or_404(game_id):
            return Response(stats_of(container_id))


def stats_of(container_id: str) -> dict[str, Any]:
    """One measurement as the API returns it. Raises as ``DockerPort.stats``."""
    stats = asdict(connect().stats(container_id))
    measurement: dict[str, Any] = StatsSerializer({"container_id": container_id, **stats}).data
    return measurement

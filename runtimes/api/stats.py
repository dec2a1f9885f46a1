"""What a game's container uses right now."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from runtimes.api.base import ContractView
from runtimes.api.live import container_of, present
from runtimes.api.schema import ALWAYS, GAME_ID, errors
from runtimes.containers import connect
from runtimes.exceptions import ErrorCode

EXAMPLE: dict[str, Any] = {
    "container_id": "3f4e0d7a9c1b5e2f8a6d4c3b2a1908f7e6d5c4b3a29180716253443526170899",
    "at": "2026-11-21T08:30:00.125000Z",
    "cpu_percent": 12.5,
    "memory_bytes": 41943040,
    "memory_limit_bytes": 536870912,
    "pids": 7,
    "network_rx_bytes": 120400,
    "network_tx_bytes": 98000,
}


@extend_schema_serializer(component_name="RuntimeStats", examples=[OpenApiExample("running", value=EXAMPLE)])
class StatsSerializer(serializers.Serializer[Any]):
    """One measurement."""

    container_id = serializers.CharField(read_only=True)
    at = serializers.DateTimeField(read_only=True)
    cpu_percent = serializers.FloatField(read_only=True, help_text="Of one core, over the second before `at`.")
    memory_bytes = serializers.IntegerField(read_only=True, help_text="Without the reclaimable page cache.")
    memory_limit_bytes = serializers.IntegerField(read_only=True)
    pids = serializers.IntegerField(read_only=True)
    network_rx_bytes = serializers.IntegerField(read_only=True, help_text="Since the start, over all networks.")
    network_tx_bytes = serializers.IntegerField(read_only=True)


class StatsView(ContractView):
    """What one game uses."""

    @extend_schema(
        operation_id="internalGetRuntimeStats",
        summary="Measure what a game's container uses",
        parameters=[GAME_ID, *ALWAYS],
        responses={
            200: StatsSerializer,
            **errors(ErrorCode.INVALID_REQUEST, ErrorCode.NOT_FOUND, ErrorCode.CONFLICT, ErrorCode.DOCKER_UNAVAILABLE),
        },
    )
    def get(self, _request: Request, game_id: str) -> Response:
        """Takes a second, over which the processor is measured. ``conflict`` when the container does not run."""
        container_id = container_of(game_id)
        with present(game_id):
            return Response(stats_of(container_id))


def stats_of(container_id: str) -> dict[str, Any]:
    """One measurement as the API tells it. Raises what ``Containers.stats`` raises."""
    stats = connect().stats(container_id)
    fields = {name: getattr(stats, name) for name in EXAMPLE if name != "container_id"}
    told: dict[str, Any] = StatsSerializer({"container_id": container_id, **fields}).data
    return told

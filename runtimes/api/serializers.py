"""RuntimeRecord: a runtime in the API, with exactly the fields of the contract."""

from functools import cache
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from runtimes.models import Runtime

EXAMPLE: dict[str, Any] = {
    "game_id": "g-42",
    "status": "running",
    "current_container_id": "3f4e0d7a9c1b5e2f8a6d4c3b2a1908f7e6d5c4b3a29180716253443526170899",
    "current_image_ref": "registry.example/engine:1.4.2",
    "engine_endpoint": "http://galaxy-game-g-42:8080",
    "state_path": "/var/lib/rtmanager/games/g-42",
    "docker_network": "galaxy-net",
    "started_at": "2026-11-21T08:30:00.125000Z",
    "stopped_at": None,
    "removed_at": None,
    "last_op_at": "2026-11-21T08:30:00.125000Z",
    "created_at": "2026-11-20T17:02:11.480000Z",
}


@extend_schema_serializer(component_name="RuntimeRecord", examples=[OpenApiExample("running", value=EXAMPLE)])
class RuntimeRecordSerializer(serializers.ModelSerializer[Runtime]):
    """The record of one game. Times are RFC 3339 in UTC; a key without a value is null, never absent."""

    class Meta:
        model = Runtime
        fields: ClassVar = list(EXAMPLE)
        read_only_fields: ClassVar = fields


def serialize(runtime: Runtime) -> dict[str, Any]:
    """The record as a dict, as the API returns it."""
    return _shared().to_representation(runtime)


@cache
def _shared() -> RuntimeRecordSerializer:
    # Creating a serializer inspects the model, which takes ten times as long as using it. It stores nothing about
    # single records, so all threads can share one.
    return RuntimeRecordSerializer()

"""How the containers of a game have ended: a list, and one with all that was kept of it."""

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from operations.models import BlackBox
from runtimes.api.base import ContractView
from runtimes.api.logs import LogLineSerializer
from runtimes.api.paging import ROW_ID_PATTERN, answer_page_by_id, find_row
from runtimes.api.schema import ALWAYS, GAME_ID, PAGE, errors
from runtimes.exceptions import ErrorCode, RuntimeNotFoundError
from runtimes.games import check_game_id

_PARAMETER = OpenApiParameter(
    "box_id", {"type": "string", "pattern": f"^{ROW_ID_PATTERN}$"}, OpenApiParameter.PATH, description="The black box."
)
_LARGE = ("limits", "probes", "log", "inspect")
SUMMARY: dict[str, Any] = {
    "id": "17",
    "game_id": "g-42",
    "container_id": "3f4e0d7a9c1b5e2f8a6d4c3b2a1908f7e6d5c4b3a29180716253443526170899",
    "operation_id": "1207",
    "cause": "crash_at_start",
    "occurred_at": "2026-11-21T08:30:00.125000Z",
    "captured_at": "2026-11-21T08:30:00.180000Z",
    "exit_code": 3,
    "oom_killed": False,
    "image_ref": "registry.example/engine:1.4.2",
    "image_id": "sha256:9b1c",
    "image_digest": "sha256:77aa",
    "note": "",
}
EXAMPLE: dict[str, Any] = {
    **SUMMARY,
    "limits": {"memory_bytes": 536870912, "pids_limit": 512, "read_only": True},
    "probes": {"snapshot": None, "events": []},
    "log": [{"at": "2026-11-21T08:30:00.101000Z", "stream": "stderr", "line": "no map in /var/lib/galaxy-game"}],
    "inspect": {"State": {"ExitCode": 3}},
}


@extend_schema_serializer(component_name="BlackBoxSummary", examples=[OpenApiExample("a crash", value=SUMMARY)])
class BlackBoxSummarySerializer(serializers.ModelSerializer[BlackBox]):
    """How one container ended."""

    # Strings: JavaScript and its kin round 64-bit numbers.
    id = serializers.CharField(read_only=True, help_text="Opaque; numeric today.")
    operation_id = serializers.CharField(read_only=True, allow_null=True, help_text="The operation that kept it.")

    class Meta:
        model = BlackBox
        fields: ClassVar = list(SUMMARY)
        read_only_fields: ClassVar = fields


@extend_schema_serializer(component_name="BlackBox", examples=[OpenApiExample("a crash", value=EXAMPLE)])
class BlackBoxSerializer(BlackBoxSummarySerializer):
    """All that was kept of one container: bounded, and with «redacted» in the place of each secret."""

    limits = serializers.DictField(read_only=True, help_text="Limits and hardening that were in force.")
    probes = serializers.DictField(read_only=True, help_text="The last health snapshot and the last health events.")
    log = LogLineSerializer(many=True, read_only=True)
    inspect = serializers.DictField(read_only=True, help_text="The telling parts of Docker's own inspection.")

    class Meta(BlackBoxSummarySerializer.Meta):
        fields: ClassVar = list(EXAMPLE)
        read_only_fields: ClassVar = fields


@extend_schema_serializer(component_name="BlackBoxList")
class BlackBoxListSerializer(serializers.Serializer[Any]):
    """One page of a game's black boxes, newest first."""

    items = BlackBoxSummarySerializer(many=True, read_only=True)


class BlackBoxListView(ContractView):
    """The ends of one game's containers."""

    @extend_schema(
        operation_id="internalListBlackBoxes",
        summary="List how a game's containers ended, newest first",
        parameters=[GAME_ID, *PAGE, *ALWAYS],
        responses={200: BlackBoxListSerializer, **errors(ErrorCode.INVALID_REQUEST)},
    )
    def get(self, request: Request, game_id: str) -> Response:
        """One page, without logs and inspections; also of a game that is removed. One query whatever it holds."""
        check_game_id(game_id)
        rows = BlackBox.objects.filter(game_id=game_id).defer(*_LARGE)
        return answer_page_by_id(request, rows, serializer=BlackBoxSummarySerializer)


class BlackBoxView(ContractView):
    """One end."""

    @extend_schema(
        operation_id="internalGetBlackBox",
        summary="Get one black box, with the last lines of the log",
        parameters=[_PARAMETER, *ALWAYS],
        responses={200: BlackBoxSerializer, **errors(ErrorCode.NOT_FOUND)},
    )
    def get(self, _request: Request, box_id: str) -> Response:
        """All that was kept of one container."""
        box = find_row(BlackBox.objects.all(), box_id)
        if box is None:
            message = f"there is no black box {box_id[:20]!a}"
            raise RuntimeNotFoundError(message)
        return Response(BlackBoxSerializer(box).data)

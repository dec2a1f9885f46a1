"""Exit reports over HTTP: a list per game, and one report with its log lines."""

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from operations.models import ExitReport
from runtimes.api.base.openapi import describe, describe_list
from runtimes.api.base.pagination import PageQuery, get_row, page_of, paginate
from runtimes.api.base.views import ApiView
from runtimes.api.containers import LogLineSerializer
from runtimes.exceptions import ErrorCode
from runtimes.game_ids import check_game_id

_LARGE_FIELDS = ("limits", "probes", "log", "inspect")
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


@extend_schema_serializer(component_name="ExitReportSummary", examples=[OpenApiExample("a crash", value=SUMMARY)])
class ExitReportSummarySerializer(serializers.ModelSerializer[ExitReport]):
    """How one container exited."""

    # Strings, because JavaScript rounds 64-bit numbers.
    id = serializers.CharField(read_only=True, help_text="Opaque; numeric today.")
    operation_id = serializers.CharField(read_only=True, allow_null=True, help_text="The operation that stored it.")

    class Meta:
        model = ExitReport
        fields: ClassVar = list(SUMMARY)
        read_only_fields: ClassVar = fields


@extend_schema_serializer(component_name="ExitReport", examples=[OpenApiExample("a crash", value=EXAMPLE)])
class ExitReportSerializer(ExitReportSummarySerializer):
    """One exit report with all its fields, limited in size. «redacted» replaces each secret."""

    limits = serializers.DictField(read_only=True, help_text="The limits and hardening of the container.")
    probes = serializers.DictField(read_only=True, help_text="The last health snapshot and the last health events.")
    log = LogLineSerializer(many=True, read_only=True)
    inspect = serializers.DictField(read_only=True, help_text="The useful parts of `docker inspect`.")

    class Meta(ExitReportSummarySerializer.Meta):
        fields: ClassVar = list(EXAMPLE)
        read_only_fields: ClassVar = fields


ExitReportList = page_of(
    ExitReportSummarySerializer, "ExitReportList", "One page of a game's exit reports, newest first."
)


class ExitReportListView(ApiView):
    """The exit reports of one game."""

    @describe_list(
        "internalListExitReports", "List the exit reports of a game, newest first", ExitReportList, PageQuery
    )
    def get(self, request: Request, game_id: str) -> Response:
        """One page, without logs and inspections, also of a removed game. Always one query."""
        check_game_id(game_id)
        rows = ExitReport.objects.filter(game_id=game_id).defer(*_LARGE_FIELDS)
        return paginate(request, rows, ExitReportSummarySerializer)


class ExitReportView(ApiView):
    """One exit report."""

    @describe(
        "internalGetExitReport",
        "Get one exit report, with the last log lines",
        ExitReportSerializer,
        ErrorCode.NOT_FOUND,
    )
    def get(self, _request: Request, report_id: str) -> Response:
        return Response(ExitReportSerializer(get_row(ExitReport.objects.all(), report_id, what="exit report")).data)

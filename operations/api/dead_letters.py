"""Dead letters over HTTP: a list, one dead letter, and its redrive."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api.serializers import EXAMPLE as OPERATION_EXAMPLE
from operations.api.serializers import OperationSerializer
from operations.dead_letters import store
from operations.dead_letters.redrive import redrive
from operations.messages import FieldValue
from operations.models import DeadLetter
from runtimes.api.base.openapi import describe, describe_list
from runtimes.api.base.pagination import PageQuery, get_row, page_of, paginate
from runtimes.api.base.parsers import QueryBoolean, QueryGameId, StrictBody, StrictString
from runtimes.api.base.views import ApiView
from runtimes.exceptions import ErrorCode

MAX_NOTE_LENGTH = 500
MAX_TEXT_LENGTH = 4096
EXAMPLE: dict[str, Any] = {
    "id": "12",
    "stream": "runtime:stop_jobs",
    "entry_id": "1795249800000-0",
    "game_id": "g-42",
    "reason": "reason 'boredom' is none of orphan_cleanup, cancelled, finished, admin_request, timeout",
    "fields": {"game_id": "g-42", "reason": "boredom", "requested_at_ms": "1795249800000"},
    "received_at": "2026-11-21T08:30:00Z",
    "redriven_at": None,
    "redriven_by": None,
    "redriven_as": None,
    "note": "",
}
_REDRIVEN: dict[str, Any] = {
    "dead_letter": {
        **EXAMPLE,
        "redriven_at": "2026-11-21T09:05:00Z",
        "redriven_by": "admin (request 0b7c9c1e4d7f4a0f)",
        "redriven_as": "1207",
        "note": "set reason='cancelled'; ticket 7",
    },
    "operation": {**OPERATION_EXAMPLE, "op_kind": "stop", "op_source": "lobby_stream", "source_ref": "1795249800000-0"},
    "is_no_op": False,
}


_VALUE: dict[str, Any] = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


@extend_schema_field({"type": "object", "additionalProperties": _VALUE})
class FieldsSent(serializers.Field[Any, Any, Any, DeadLetter]):
    """The entry's fields as its producer sent them; a repeated field has the list of its values."""

    def to_representation(self, value: DeadLetter) -> dict[str, FieldValue]:
        return store.read_fields(value)


class StrictTexts(serializers.DictField):
    """A JSON object whose values are strings. The strings do not change."""

    child = StrictString(allow_blank=True, max_length=MAX_TEXT_LENGTH)


@extend_schema_serializer(component_name="DeadLetter", examples=[OpenApiExample("waiting", value=EXAMPLE)])
class DeadLetterSerializer(serializers.Serializer[DeadLetter]):
    """A stream entry that is no valid job, and the operation that its redrive created."""

    id = serializers.CharField(read_only=True, help_text="Opaque; numeric today.")
    stream = serializers.CharField(read_only=True)
    entry_id = serializers.CharField(read_only=True)
    game_id = serializers.CharField(read_only=True, help_text="Empty if the entry names no valid game id.")
    reason = serializers.CharField(read_only=True, help_text="Why it is no valid job.")
    fields = FieldsSent(source="*", read_only=True)  # type: ignore[assignment]  # taken off the class by DRF
    received_at = serializers.DateTimeField(read_only=True)
    redriven_at = serializers.DateTimeField(read_only=True, allow_null=True)
    redriven_by = serializers.CharField(read_only=True, help_text="Empty until the redrive.")
    redriven_as = serializers.CharField(
        source="redriven_as_id", read_only=True, allow_null=True, help_text="The operation that the redrive created."
    )
    note = serializers.CharField(read_only=True, help_text="The changed fields and the reason.")


@extend_schema_serializer(
    component_name="RedriveRequest",
    examples=[
        OpenApiExample("corrected", value={"set": {"reason": "cancelled"}, "note": "ticket 7"}, request_only=True)
    ],
)
class RedriveBody(StrictBody):
    """Corrections of the entry, if any, and the reason."""

    set = StrictTexts(required=False, help_text="Fields of the entry to replace.")
    note = StrictString(required=False, allow_blank=True, max_length=MAX_NOTE_LENGTH, help_text="The reason.")


@extend_schema_serializer(component_name="Redriven", examples=[OpenApiExample("redriven", value=_REDRIVEN)])
class RedriveResultSerializer(serializers.Serializer[Any]):
    """The dead letter after its redrive, and the operation. ``is_no_op``: it was redriven before."""

    dead_letter = DeadLetterSerializer(read_only=True)
    operation = OperationSerializer(read_only=True)
    is_no_op = serializers.BooleanField(read_only=True)


DeadLetterList = page_of(DeadLetterSerializer, "DeadLetterList", "One page of dead letters, oldest first.")


class DeadLetterQuery(PageQuery):
    """The filters of the list."""

    waiting = QueryBoolean(
        source="redriven_at__isnull", help_text="Only those without a redrive, or only redriven ones."
    )
    game_id = QueryGameId(help_text="Only dead letters of this game.")


class DeadLetterListView(ApiView):
    """All dead letters."""

    @describe_list("internalListDeadLetters", "List dead letters, oldest first", DeadLetterList, DeadLetterQuery)
    def get(self, request: Request) -> Response:
        """One page of the stream entries that are no valid jobs. Always one query."""
        rows = DeadLetter.objects.all()
        return paginate(request, rows, DeadLetterSerializer, query=DeadLetterQuery, order_by="pk")


class DeadLetterView(ApiView):
    """One dead letter."""

    @describe("internalGetDeadLetter", "Get one dead letter", DeadLetterSerializer, ErrorCode.NOT_FOUND)
    def get(self, _request: Request, dead_letter_id: str) -> Response:
        return Response(DeadLetterSerializer(_get(dead_letter_id)).data)


class RedriveView(ApiView):
    """Redrive of a dead letter."""

    is_for_admins = True

    @describe(
        "internalRedriveDeadLetter",
        "Redrive a dead letter, with corrections if necessary",
        RedriveResultSerializer,
        *(ErrorCode.INVALID_REQUEST, ErrorCode.NOT_FOUND, ErrorCode.CONFLICT),
        request=RedriveBody,
    )
    def post(self, request: Request, dead_letter_id: str) -> Response:
        """Accepts the job after all operations accepted so far. Its result goes to the result stream.

        A second redrive returns the first operation and does nothing; with other corrections it is a `conflict`.
        """
        dead_letter = _get(dead_letter_id)
        body = RedriveBody(data=self.read_body(request))
        body.is_valid(raise_exception=True)
        corrections, note = body.validated_data.get("set", {}), body.validated_data.get("note", "")
        by = f"{self.caller.name} (request {request.headers.get('X-Request-ID', '')})"
        done = redrive(dead_letter.pk, corrected=corrections, by=by, note=note)
        result = {"dead_letter": _get(dead_letter_id), "operation": done.operation, "is_no_op": done.is_no_op}
        return Response(RedriveResultSerializer(result).data)


def _get(dead_letter_id: str) -> DeadLetter:
    return get_row(DeadLetter.objects.all(), dead_letter_id, what="dead letter")

"""GET explain. The serializers describe the dataclasses of ``operations.explain`` in the OpenAPI document.

The response itself is ``Explanation.as_json``.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import is_dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from types import UnionType
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api.serializers import OperationSerializer
from operations.explain.collect import explain_game
from operations.explain.diagnosis import NextStep
from operations.explain.explanation import (
    DEAD_LETTER_FIELDS,
    HEALTH_FIELDS,
    OPEN_FIELDS,
    Explanation,
    HealthHistoryEntry,
)
from operations.explain.next_step import VERBS
from operations.models import DeadLetter
from runtimes.api.base.openapi import describe
from runtimes.api.base.views import ApiView
from runtimes.api.serializers import RuntimeRecordSerializer
from runtimes.exceptions import ErrorCode
from runtimes.game_ids import check_game_id
from runtimes.models import HealthSnapshot

_FIELDS: Mapping[type, type[serializers.Field[Any, Any, Any, Any]]] = {
    str: serializers.CharField,
    int: serializers.IntegerField,
    bool: serializers.BooleanField,
    datetime: serializers.DateTimeField,
}


def serializer_for(shape: Any, **special_fields: Any) -> type[serializers.Serializer[Any]]:
    """A serializer class with name, docstring and fields of a dataclass. ``special_fields`` replace generated ones."""
    # A copy counts as created now: DRF orders fields by creation.
    own_fields = {
        name: deepcopy(special_fields[name]) if name in special_fields else field_for(hint)
        for name, hint in get_type_hints(shape).items()
    }
    attributes = {"__doc__": shape.__doc__, **own_fields}
    serializer = type(f"{shape.__name__}Serializer", (serializers.Serializer,), attributes)
    return extend_schema_serializer(component_name=shape.__name__)(serializer)


def field_for(hint: Any, **options: Any) -> Any:
    """The read-only field for a type: ``X | None`` may be null, a tuple is a list, a dataclass is nested."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return field_for(arguments[0], allow_null=True)
    if origin is Mapping:
        return serializers.DictField(read_only=True, **options)
    if origin is tuple:
        item = arguments[0]
        is_nested = is_dataclass(item)
        return field_for(item, many=True) if is_nested else serializers.ListField(child=_FIELDS[item](), read_only=True)
    if is_dataclass(hint):
        return (NextStepSerializer if hint is NextStep else serializer_for(hint))(read_only=True, **options)
    is_enum = issubclass(hint, Enum)
    field = partial(serializers.ChoiceField, choices=[member.value for member in hint]) if is_enum else _FIELDS[hint]
    return field(read_only=True, **options)


NextStepSerializer = serializer_for(
    NextStep,
    verb=serializers.ChoiceField(choices=VERBS, read_only=True, allow_null=True),
    arguments=serializers.DictField(read_only=True, help_text="The body of the verb's call."),
    command=serializers.CharField(read_only=True, help_text="A shell command; empty if there is none."),
)


@extend_schema_serializer(component_name="OpenOperation")
class OpenOperationSerializer(OperationSerializer):
    """An operation that waits or runs, with its attempts, delay and lease."""

    class Meta(OperationSerializer.Meta):
        fields = [*OperationSerializer.Meta.fields, *OPEN_FIELDS]
        read_only_fields = fields


@extend_schema_serializer(component_name="Health")
class HealthSerializer(serializers.ModelSerializer[HealthSnapshot]):
    """The last technical observations of the game's container."""

    details = serializers.DictField(read_only=True)

    class Meta:
        model = HealthSnapshot
        fields: ClassVar = HEALTH_FIELDS
        read_only_fields: ClassVar = fields


@extend_schema_serializer(component_name="WaitingDeadLetter")
class WaitingDeadLetterSerializer(serializers.ModelSerializer[DeadLetter]):
    """A dead letter that names the game and was not redriven."""

    id = serializers.CharField(read_only=True)

    class Meta:
        model = DeadLetter
        fields: ClassVar = DEAD_LETTER_FIELDS
        read_only_fields: ClassVar = fields


ExplanationSerializer = serializer_for(
    Explanation,
    as_of=serializers.DateTimeField(read_only=True, help_text="The database's time."),
    verbs=serializers.DictField(
        child=serializers.CharField(),
        read_only=True,
        help_text="For each verb why it would be refused now; empty if the caller can do it. A missing state directory "
        "refuses neither start nor restart, because `accept_empty_state` accepts it.",
    ),
    recorded=RuntimeRecordSerializer(read_only=True, allow_null=True),
    open_operations=OpenOperationSerializer(many=True, read_only=True, help_text="The first 20."),
    last_operations=OperationSerializer(many=True, read_only=True, help_text="The last 5."),
    health=HealthSerializer(read_only=True, allow_null=True),
    health_history=serializer_for(HealthHistoryEntry)(
        many=True, read_only=True, help_text="The last 20 health events."
    ),
    dead_letters=WaitingDeadLetterSerializer(many=True, read_only=True, help_text="The last 5."),
    limits=serializers.DictField(read_only=True, help_text="Limits and hardening in force; empty without a container."),
)


class ExplainView(ApiView):
    """The explanation of one game."""

    @describe(
        "internalExplainRuntime",
        "Explain why a game is in its state, what to do, and what happens automatically",
        ExplanationSerializer,
        ErrorCode.INVALID_REQUEST,
    )
    def get(self, _request: Request, game_id: str) -> Response:
        """Queries the records, Docker and Redis, each for at most 2 s. A server that does not answer is unknown.

        Works for every game id, also for one without a record. The number of queries is always the same.
        """
        check_game_id(game_id)
        return Response(explain_game(game_id).as_json())

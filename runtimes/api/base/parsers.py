"""Strict parsers of request bodies and query parameters. Input that the contract does not define is rejected."""

from collections.abc import Mapping
from typing import IO, Any

from django.http import UnreadablePostError
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.settings import api_settings

from runtimes.api.base.strict_json import load_json
from runtimes.exceptions import InvalidRequestError
from runtimes.game_ids import GAME_ID_PATTERN, check_game_id

MAX_BODY_BYTES = 64 * 1024


class StrictJSONParser(BaseParser):
    """The only body parser of the API. Raises InvalidRequestError unless the body is one UTF-8 JSON value."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        del media_type, parser_context
        try:
            body = stream.read(MAX_BODY_BYTES + 1)
        except UnreadablePostError:
            message = "the body is shorter than its Content-Length"
            raise InvalidRequestError(message) from None
        if len(body) > MAX_BODY_BYTES:
            message = f"the body is larger than {MAX_BODY_BYTES} bytes"
            raise InvalidRequestError(message)
        return load_json(body)


class StrictBody(serializers.Serializer[Any]):
    """Base of request bodies: a JSON object that has only declared fields."""

    default_error_messages = {"invalid": "the body must be a JSON object"}

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := sorted(set(data) - set(self.fields))):
            message = "unknown field " + ", ".join(repr(name) for name in unknown)
            raise serializers.ValidationError({api_settings.NON_FIELD_ERRORS_KEY: [message]})
        return super().to_internal_value(data)


class StrictString(serializers.CharField):
    """A JSON string, unchanged. DRF's own field would convert numbers and strip white space."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictBoolean(serializers.BooleanField):
    """JSON ``true`` or ``false``. DRF's own field also accepts 1, "yes" and similar values."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class StrictChoice(serializers.ChoiceField):
    """One string of a fixed list."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)


class Query(serializers.Serializer[Any]):
    """Base of the query parameters of an endpoint. Undeclared parameters are ignored."""

    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        """The given parameters, and the defaults of others. Raises ValidationError or InvalidRequestError."""
        # Of several values of a parameter, the last counts.
        query = cls(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        return dict(query.validated_data)


class QueryInteger(serializers.IntegerField):
    """A whole number within bounds, in decimal digits only."""

    def __init__(self, *, minimum: int, maximum: int, **options: Any) -> None:
        message = f"must be a whole number from {minimum} to {maximum}"
        messages: dict[str, Any] = dict.fromkeys(("invalid", "min_value", "max_value", "max_string_length"), message)
        super().__init__(min_value=minimum, max_value=maximum, error_messages=messages, required=False, **options)

    def to_internal_value(self, data: Any) -> int:
        if not (data.isascii() and data.isdecimal()):
            self.fail("invalid")
        return super().to_internal_value(data)


class QueryChoice(serializers.ChoiceField):
    """A filter by one of several values."""

    def __init__(self, choices: Any, **options: Any) -> None:
        message = f"must be one of {', '.join(choices)}"
        super().__init__(choices, error_messages={"invalid_choice": message}, required=False, **options)


class QueryBoolean(serializers.BooleanField):
    """``true`` or ``false``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(error_messages={"invalid": "must be true or false"}, required=False, **options)

    def to_internal_value(self, data: Any) -> bool:
        if data not in {"true", "false"}:
            self.fail("invalid")
        return bool(data == "true")


@extend_schema_field({"type": "string", "pattern": f"^{GAME_ID_PATTERN}$"})
class QueryGameId(serializers.Field[str, str, str, Any]):
    """A filter by game."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, **options)

    def to_internal_value(self, data: str) -> str:
        check_game_id(data)
        return data

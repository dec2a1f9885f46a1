"""Request bodies taken literally: what is not exactly what the contract names is refused, never guessed at."""

import json
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.http import UnreadablePostError
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.settings import api_settings

from runtimes.exceptions import InvalidRequestError

MAX_BODY_BYTES = 64 * 1024


class StrictJSONParser(BaseParser):
    """The only parser of the API. Raises InvalidRequestError for anything but one UTF-8 JSON value of sane size."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The decoded body."""
        del media_type, parser_context
        try:
            body = stream.read(MAX_BODY_BYTES + 1)
        except UnreadablePostError:
            message = "the body ended before its announced length"
            raise InvalidRequestError(message) from None
        return load_json(body)


def load_json(body: bytes) -> Any:
    """Decode one JSON value. Raises InvalidRequestError for bad JSON, other encodings, duplicate keys,
    ``NaN`` and its kin, absurd nesting, and bodies above MAX_BODY_BYTES.
    """
    if len(body) > MAX_BODY_BYTES:
        message = f"the body is larger than {MAX_BODY_BYTES} bytes"
        raise InvalidRequestError(message)
    try:
        return json.loads(body.decode(), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        message = "the body is not UTF-8"
    except RecursionError:
        message = "the body is nested too deeply"
    except ValueError as error:
        message = f"the body is not valid JSON: {error}"
    raise InvalidRequestError(message) from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        message = "the body names a field twice"
        raise InvalidRequestError(message)
    return found


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


class StrictBody(serializers.Serializer[Any]):
    """Base of request bodies: a JSON object with the declared fields and no others."""

    default_error_messages = {"invalid": "the body must be a JSON object"}

    def to_internal_value(self, data: Any) -> Any:
        """The checked fields; raises ValidationError that names what is wrong."""
        if isinstance(data, Mapping) and (unknown := sorted(set(data) - set(self.fields))):
            message = "unknown field " + ", ".join(repr(name) for name in unknown)
            raise serializers.ValidationError({api_settings.NON_FIELD_ERRORS_KEY: [message]})
        return super().to_internal_value(data)


class StrictString(serializers.CharField):
    """A JSON string, kept as it came: DRF's own field would turn numbers into text and cut white space."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        """The string; raises ValidationError for any other type."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictBoolean(serializers.BooleanField):
    """JSON ``true`` or ``false``: DRF's own field also takes 1, "yes" and the like."""

    def to_internal_value(self, data: Any) -> bool:
        """The boolean; raises ValidationError for any other type."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class StrictChoice(serializers.ChoiceField):
    """One string of a closed list."""

    def to_internal_value(self, data: Any) -> Any:
        """The choice; raises ValidationError for anything not on the list."""
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)

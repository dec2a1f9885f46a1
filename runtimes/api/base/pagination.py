"""Keyset pagination: the cost is the same for every page, and inserts do not shift pages.

The body is exactly the contract's ``{"items": […]}``; the URL of the next page is in the ``Link`` header.
"""

import base64
import binascii
import re
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from runtimes.api.base.parsers import Query, QueryInteger
from runtimes.exceptions import InvalidRequestError, RuntimeNotFoundError

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_CURSOR_LENGTH = 200
_INVALID_CURSOR = "cursor: invalid; follow the Link header of a response"

ROW_ID_PATTERN = "[1-9][0-9]{0,18}"
_ROW_ID = re.compile(ROW_ID_PATTERN)
_LARGEST_ROW_ID = 2**63 - 1

Row = TypeVar("Row", bound=Model)


@extend_schema_field({"type": "string", "pattern": f"^[A-Za-z0-9_-]{{0,{MAX_CURSOR_LENGTH}}}$"})
class CursorField(serializers.Field[str, str, str, Any]):
    """The key after which a page starts; empty: from the beginning."""

    def to_internal_value(self, data: str) -> str:
        return _decode(data) if data else ""


class PageQuery(Query):
    """The page of a list. A subclass adds filters, whose sources are lookups of the model."""

    limit = QueryInteger(minimum=1, maximum=MAX_LIMIT, default=DEFAULT_LIMIT, help_text="The maximum number of items.")
    cursor = CursorField(
        required=False, help_text='Start of the page: use the URL in `Link: <…>; rel="next"` of a response.'
    )


def paginate(
    request: Request,
    rows: QuerySet[Row],
    serializer: type[BaseSerializer[Any]],
    *,
    query: type[PageQuery] = PageQuery,
    order_by: str = "-pk",
) -> Response:
    """Return the filtered rows of one page in one query, with a link to the next page if there are more."""
    filters = query.read(request)
    limit, after = filters.pop("limit"), filters.pop("cursor", "")
    field = order_by.removeprefix("-")
    if after:
        key = parse_id(after) if field == "pk" else after
        if key is None:
            raise InvalidRequestError(_INVALID_CURSOR)
        filters[f"{field}__lt" if order_by.startswith("-") else f"{field}__gt"] = key
    fetched = list(rows.filter(**filters).order_by(order_by)[: limit + 1])
    page = fetched[:limit]
    response = Response({"items": serializer(page, many=True).data})
    if len(fetched) > limit:
        following = request.query_params.copy()
        following["cursor"] = _encode(str(getattr(page[-1], field)))
        response["Link"] = f'<{request.path}?{following.urlencode()}>; rel="next"'
    return response


def page_of(item: type[BaseSerializer[Any]], name: str, description: str) -> type[BaseSerializer[Any]]:
    """The serializer of one page, for the OpenAPI document."""
    attributes = {"__doc__": description, "items": item(many=True, read_only=True)}
    serializer = type(f"{name}Serializer", (serializers.Serializer,), attributes)
    return extend_schema_serializer(component_name=name)(serializer)


def parse_id(text: str) -> int | None:
    """The primary key in an opaque id; None if it cannot be one."""
    number = int(text) if _ROW_ID.fullmatch(text) else 0
    return number if 0 < number <= _LARGEST_ROW_ID else None


def get_row(rows: QuerySet[Row], text: str, *, what: str) -> Row:
    """The row with this opaque id. Raises RuntimeNotFoundError."""
    number = parse_id(text)
    row = None if number is None else rows.filter(pk=number).first()
    if row is None:
        message = f"there is no {what} {text[:20]!a}"
        raise RuntimeNotFoundError(message)
    return row


def _encode(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        key = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        key = ""
    if not key.isprintable() or not key or len(cursor) > MAX_CURSOR_LENGTH:
        raise InvalidRequestError(_INVALID_CURSOR)
    return key

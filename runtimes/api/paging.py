"""Keyset pages: constant cost at any depth, and stable while rows come and go.

The body stays exactly the contract's ``{"items": […]}``; the next page's address is in the ``Link`` header.
"""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from runtimes.exceptions import InvalidRequestError

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_CURSOR_LENGTH = 200
_NOT_OURS = "cursor: not one that this service gave out"

ROW_ID_PATTERN = "[1-9][0-9]{0,18}"
_ROW_ID = re.compile(ROW_ID_PATTERN)
_LARGEST_ROW_ID = 2**63 - 1

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """How many rows, and after which key (empty: from the beginning)."""

    limit: int
    after: str


def read_page(request: Request) -> PageRequest:
    """``?limit=`` and ``?cursor=`` of a request. Raises InvalidRequestError when either cannot be meant."""
    limit = request.query_params.get("limit", str(DEFAULT_LIMIT))
    cursor = request.query_params.get("cursor", "")
    return PageRequest(limit=_parse_limit(limit), after=_decode(cursor) if cursor else "")


def answer_page(
    request: Request,
    rows: QuerySet[Row],
    *,
    limit: int,
    serializer: type[BaseSerializer[Any]],
    key: Callable[[Row], str],
) -> Response:
    """Answer with the first ``limit`` rows in one query, and link to the rest when there is more."""
    found = list(rows[: limit + 1])
    page = found[:limit]
    response = Response({"items": serializer(page, many=True).data})
    if len(found) > limit:
        response["Link"] = f'<{_address_after(request, key(page[-1]))}>; rel="next"'
    return response


def read_row_id(text: str) -> int | None:
    """The row that an opaque id names; None when no row can have it."""
    number = int(text) if _ROW_ID.fullmatch(text) else 0
    return number if 0 < number <= _LARGEST_ROW_ID else None


def find_row(rows: QuerySet[Row], text: str) -> Row | None:
    """The row that an opaque id names, if there is one."""
    number = read_row_id(text)
    return None if number is None else rows.filter(pk=number).first()


def answer_page_by_id(
    request: Request, rows: QuerySet[Row], *, serializer: type[BaseSerializer[Any]], newest_first: bool = True
) -> Response:
    """Answer with the page that the request asks for, of rows in the order of their ids, in one query."""
    page = read_page(request)
    if page.after:
        after = read_row_id(page.after)
        if after is None:
            raise InvalidRequestError(_NOT_OURS)
        rows = rows.filter(pk__lt=after) if newest_first else rows.filter(pk__gt=after)
    ordered = rows.order_by("-pk" if newest_first else "pk")
    return answer_page(request, ordered, limit=page.limit, serializer=serializer, key=lambda row: str(row.pk))


def _address_after(request: Request, key: str) -> str:
    query = request.query_params.copy()
    query["cursor"] = _encode(key)
    return f"{request.path}?{query.urlencode()}"


def _parse_limit(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(MAX_LIMIT)) or not 1 <= int(text) <= MAX_LIMIT:
        message = f"limit: must be a whole number from 1 to {MAX_LIMIT}"
        raise InvalidRequestError(message)
    return int(text)


def _encode(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        key = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        key = ""
    if not key.isprintable() or not key or len(cursor) > MAX_CURSOR_LENGTH:
        raise InvalidRequestError(_NOT_OURS)
    return key

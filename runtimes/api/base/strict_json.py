"""JSON as the API and the Docker gateway accept it: nothing that two parsers could read in two ways. Pure."""

import json
from typing import Any, NoReturn

from runtimes.exceptions import InvalidRequestError


def load_json(body: bytes) -> Any:
    """Decode one JSON value.

    Raises InvalidRequestError for invalid JSON, other encodings, duplicate keys, ``NaN`` and infinities, and too deep
    nesting.
    """
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
    fields = dict(pairs)
    if len(fields) != len(pairs):
        message = "the body contains a field twice"
        raise InvalidRequestError(message)
    return fields


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)

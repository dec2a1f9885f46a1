import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from runtimes.api.base.exceptions import handle_exception
from runtimes.api.base.parsers import (
    MAX_BODY_BYTES,
    Query,
    QueryBoolean,
    QueryChoice,
    QueryGameId,
    QueryInteger,
    StrictBody,
    StrictBoolean,
    StrictChoice,
    StrictJSONParser,
    StrictString,
)
from runtimes.exceptions import InvalidRequestError


class Order(StrictBody):
    dish = StrictString(max_length=10)
    hot = StrictBoolean(required=False)
    size = StrictChoice(choices=["small", "large"], required=False)


class Menu(Query):
    limit = QueryInteger(minimum=1, maximum=20, default=5)
    size = QueryChoice(["small", "large"])
    hot = QueryBoolean()
    game_id = QueryGameId()


def read_menu(query: str) -> dict[str, object]:
    return Menu.read(Request(APIRequestFactory().get(f"/menu?{query}")))


def parse(body: bytes) -> object:
    return StrictJSONParser().parse(io.BytesIO(body))


def test_a_plain_object_is_taken_as_it_is() -> None:
    assert parse('{"dish": "soupe à l\'oignon"}'.encode()) == {"dish": "soupe à l'oignon"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not valid JSON"),
        (b"image_ref=x", "not valid JSON"),
        (b'{"a": 1} {"b": 2}', "Extra data"),
        (b'{"a": 1, "a": 2}', "contains a field twice"),
        (b'{"a": {"b": 1, "b": 1}}', "contains a field twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'\xef\xbb\xbf{"a": 1}', "not valid JSON"),
        (b"[" * MAX_BODY_BYTES, "nested too deeply"),
        (b'"' + b"x" * MAX_BODY_BYTES + b'"', "larger than 65536 bytes"),
    ],
)
def test_what_is_not_one_sane_json_value_is_refused_with_its_reason(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        parse(body)


@given(st.binary(max_size=200))
def test_no_body_whatever_makes_the_parser_fail_in_another_way(body: bytes) -> None:
    try:
        parsed = parse(body)
    except InvalidRequestError:
        parsed = None

    assert json.loads(json.dumps(parsed)) == parsed


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({}, "required"),
        ({"dish": None}, "null"),
        ({"dish": 1}, "valid string"),
        ({"dish": True}, "valid string"),
        ({"dish": ["soup"]}, "valid string"),
        ({"dish": ""}, "blank"),
        ({"dish": "a\x00b"}, "Null characters"),
        ({"dish": "\ud800"}, "Surrogate"),
        ({"dish": "x" * 11}, "10 characters"),
        ({"dish": "soup", "hot": 1}, "valid boolean"),
        ({"dish": "soup", "hot": "true"}, "valid boolean"),
        ({"dish": "soup", "hot": None}, "null"),
        ({"dish": "soup", "size": "huge"}, "not a valid choice"),
        ({"dish": "soup", "size": ["small"]}, "not a valid choice"),
        ({"dish": "soup", "Dish": "soup"}, "unknown field 'Dish'"),
        (["soup"], "must be a JSON object"),
        ("soup", "must be a JSON object"),
        (None, "null"),
    ],
)
def test_a_body_that_is_not_exactly_what_was_asked_for_is_refused(data: object, reason: str) -> None:
    order = Order(data=data)

    assert not order.is_valid()
    assert reason in str(order.errors)


def test_a_good_body_keeps_every_character_and_adds_nothing() -> None:
    order = Order(data={"dish": " soup ", "hot": False})

    assert order.is_valid()
    assert order.validated_data == {"dish": " soup ", "hot": False}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        *((f"limit={text}", "limit: must be a whole number from 1 to 20") for text in ["0", "21", "x", "", "-1"]),
        *((f"limit={text}", "limit: must be a whole number from 1 to 20") for text in ["5.0", "%2B5", "%D9%A5"]),
        *((f"size={text}", "size: must be one of small, large") for text in ["huge", "", "Small"]),
        *((f"hot={text}", "hot: must be true or false") for text in ["1", "", "True", "yes"]),
        ("game_id=..", "game_id"),
        ("game_id=", "game_id"),
    ],
)
def test_an_invalid_query_parameter_is_refused_with_its_reason(query: str, reason: str) -> None:
    with pytest.raises((ValidationError, InvalidRequestError)) as caught:
        read_menu(query)

    assert reason in handle_exception(caught.value, {}).data["error"]["message"]


def test_a_query_has_its_defaults_and_the_last_of_several_values() -> None:
    assert read_menu("") == {"limit": 5}
    assert read_menu("limit=3&limit=20&hot=true&size=large&other=1") == {"limit": 20, "hot": True, "size": "large"}

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.api.strict import MAX_BODY_BYTES, StrictBody, StrictBoolean, StrictChoice, StrictJSONParser, StrictString
from runtimes.exceptions import InvalidRequestError


class Order(StrictBody):
    dish = StrictString(max_length=10)
    hot = StrictBoolean(required=False)
    size = StrictChoice(choices=["small", "large"], required=False)


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
        (b'{"a": 1, "a": 2}', "names a field twice"),
        (b'{"a": {"b": 1, "b": 1}}', "names a field twice"),
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

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.container_spec import container_name
from runtimes.exceptions import ErrorCode, InvalidRequestError
from runtimes.game_ids import GAME_ID_PATTERN, check_game_id, is_game_id
from runtimes.models import GAME_ID_MAX_LENGTH

LONGEST_HOST_NAME = 63


@pytest.mark.parametrize("text", ["a", "7", "game-1", "A_b-C", "a" * 51, "0-_-_"])
def test_letters_digits_dash_and_underscore_name_a_game(text: str) -> None:
    check_game_id(text)

    assert is_game_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "-a", "_a", "a" * 52, "a b", "a.b", "a/b", "..", "a\n", "\na", "a\x00", "ä", "é", "٣", "²", "a:b", "a%2fb"],
)
def test_everything_else_is_refused(text: str) -> None:
    assert not is_game_id(text)
    with pytest.raises(InvalidRequestError) as refused:
        check_game_id(text)
    assert refused.value.code == ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("value", [None, 1, b"game-1", ["game-1"], True])
def test_what_is_no_text_names_no_game(value: object) -> None:
    assert not is_game_id(value)


def test_a_refusal_shows_a_long_id_only_in_part_and_in_printable_form() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        check_game_id("\x1b" + "ä" * 5000)

    assert refused.value.message.isascii()
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 700


def test_the_longest_game_id_fits_its_column_and_a_host_name() -> None:
    longest = "a" * GAME_ID_MAX_LENGTH

    assert is_game_id(longest)
    assert not is_game_id(longest + "a")
    assert len(container_name(longest)) <= LONGEST_HOST_NAME


@given(st.text(st.characters()))
def test_a_game_id_is_what_matches_the_pattern_of_the_contract(text: str) -> None:
    assert is_game_id(text) == (re.fullmatch(GAME_ID_PATTERN, text) is not None)


@given(st.from_regex(GAME_ID_PATTERN, fullmatch=True))
def test_a_game_id_is_safe_as_a_directory_name(text: str) -> None:
    assert is_game_id(text)
    assert text.isascii()
    assert not {"/", ".", "\x00"} & set(text)

"""Endpoints and the container names that they need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.container_spec import container_name, endpoint_host, endpoint_of, engine_endpoint, is_misnamed

names = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,80}", fullmatch=True)


@given(names)
def test_the_host_of_an_endpoint_is_the_name_that_it_was_made_of(name: str) -> None:
    assert endpoint_host(endpoint_of(name)) == name


@given(names, names)
def test_a_container_is_misnamed_when_its_name_is_not_that_of_its_endpoint(name: str, other: str) -> None:
    assert is_misnamed(endpoint_of(name), name=other) == (name != other)


@pytest.mark.parametrize("text", ["", "http://", "https://a:8080", "http://a:80", "a:8080"])
def test_a_text_that_is_no_endpoint_misnames_nothing(text: str) -> None:
    assert endpoint_host(text) == ""
    assert not is_misnamed(text, name="anything")


def test_the_case_of_a_game_id_is_kept() -> None:
    assert endpoint_host(engine_endpoint("Alpha")) == container_name("Alpha")

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from operations.api.completion import PreferHeader, read_key, read_preferences


def request(**headers: str) -> Request:
    return Request(APIRequestFactory().post("/", headers=headers))


@pytest.mark.parametrize(
    ("header", "preferences"),
    [
        ("", PreferHeader()),
        ("respond-async", PreferHeader(respond_async=True)),
        ("Respond-Async", PreferHeader(respond_async=True)),
        ("respond-async, wait=10", PreferHeader(respond_async=True, wait_seconds=10)),
        ("wait=10,respond-async", PreferHeader(respond_async=True, wait_seconds=10)),
        ('wait = "7"', PreferHeader(wait_seconds=7)),
        ("wait=0", PreferHeader(wait_seconds=0)),
        ("wait=3, wait=9", PreferHeader(wait_seconds=3)),
        ("respond-async; color=red", PreferHeader(respond_async=True)),
        ("handling=lenient, return=minimal", PreferHeader()),
        ('note="a, respond-async"', PreferHeader()),
        ("wait=soon", PreferHeader()),
        ("wait=-1", PreferHeader()),
        ("wait=1.5", PreferHeader()),
        ("wait=9999999999", PreferHeader()),
        (",,;=,", PreferHeader()),
    ],
)
def test_preferences_are_parsed_as_in_rfc_7240_and_invalid_ones_are_ignored(
    header: str, preferences: PreferHeader
) -> None:
    assert read_preferences(request(Prefer=header)) == preferences


@pytest.mark.parametrize(
    ("preferences", "seconds", "applied"),
    [
        (PreferHeader(), 60, ""),
        (PreferHeader(respond_async=True), 0, "respond-async"),
        (PreferHeader(wait_seconds=5), 5, "wait=5"),
        (PreferHeader(respond_async=True, wait_seconds=5), 5, "respond-async, wait=5"),
        (PreferHeader(wait_seconds=500), 60, ""),
        (PreferHeader(respond_async=True, wait_seconds=500), 60, "respond-async"),
    ],
)
def test_a_call_is_held_for_the_preferred_time_up_to_the_limit_of_the_service(
    preferences: PreferHeader, seconds: float, applied: str
) -> None:
    assert (preferences.timeout(60.0), preferences.applied(60.0)) == (seconds, applied)


def test_a_request_without_the_header_has_no_key() -> None:
    assert read_key(request()) == ""


@pytest.mark.parametrize("key", ["k", '"8e03978e-40d5"', "~" * 255])
def test_any_visible_ascii_text_is_a_key(key: str) -> None:
    assert read_key(request(**{"Idempotency-Key": key})) == key

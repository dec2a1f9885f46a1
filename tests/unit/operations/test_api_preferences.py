import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from operations.api.preferences import Preferences, read_key, read_preferences


def request(**headers: str) -> Request:
    return Request(APIRequestFactory().post("/", headers=headers))


@pytest.mark.parametrize(
    ("header", "preferences"),
    [
        ("", Preferences()),
        ("respond-async", Preferences(respond_async=True)),
        ("Respond-Async", Preferences(respond_async=True)),
        ("respond-async, wait=10", Preferences(respond_async=True, wait_seconds=10)),
        ("wait=10,respond-async", Preferences(respond_async=True, wait_seconds=10)),
        ('wait = "7"', Preferences(wait_seconds=7)),
        ("wait=0", Preferences(wait_seconds=0)),
        ("wait=3, wait=9", Preferences(wait_seconds=3)),
        ("respond-async; color=red", Preferences(respond_async=True)),
        ("handling=lenient, return=minimal", Preferences()),
        ('note="a, respond-async"', Preferences()),
        ("wait=soon", Preferences()),
        ("wait=-1", Preferences()),
        ("wait=1.5", Preferences()),
        ("wait=9999999999", Preferences()),
        (",,;=,", Preferences()),
    ],
)
def test_a_preference_is_read_as_its_rfc_has_it_and_ignored_when_it_is_none(
    header: str, preferences: Preferences
) -> None:
    assert read_preferences(request(Prefer=header)) == preferences


@pytest.mark.parametrize(
    ("preferences", "seconds", "applied"),
    [
        (Preferences(), 60, ""),
        (Preferences(respond_async=True), 0, "respond-async"),
        (Preferences(wait_seconds=5), 5, "wait=5"),
        (Preferences(respond_async=True, wait_seconds=5), 5, "respond-async, wait=5"),
        (Preferences(wait_seconds=500), 60, ""),
        (Preferences(respond_async=True, wait_seconds=500), 60, "respond-async"),
    ],
)
def test_a_call_is_held_as_long_as_is_preferred_and_never_longer_than_the_service_does(
    preferences: Preferences, seconds: float, applied: str
) -> None:
    assert (preferences.patience(60.0), preferences.applied(60.0)) == (seconds, applied)


def test_without_a_key_there_is_none() -> None:
    assert read_key(request()) == ""


@pytest.mark.parametrize("key", ["k", '"8e03978e-40d5"', "~" * 255])
def test_any_visible_text_is_a_key(key: str) -> None:
    assert read_key(request(**{"Idempotency-Key": key})) == key

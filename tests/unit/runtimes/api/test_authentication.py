import pytest
from django.test import Client
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from rtmanager.config import Config
from runtimes.api.base.authentication import AUTHENTICATORS, Caller, CallerAuthentication
from tests.conftest import RtmSettings


def request(**headers: str) -> Request:
    return Request(APIRequestFactory().get("/", headers=headers))


def test_every_mode_of_the_settings_is_known() -> None:
    assert set(AUTHENTICATORS) == set(Config.model_fields["api_auth"].annotation.__args__)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({}, "admin"),
        ({"X-Galaxy-Caller": "gm"}, "gm"),
        ({"X-Galaxy-Caller": "admin"}, "admin"),
        ({"X-Galaxy-Caller": "GM"}, "admin"),
        ({"X-Galaxy-Caller": "lobby"}, "admin"),
    ],
)
def test_on_a_trusted_network_the_header_says_who_calls(
    rtm_settings: RtmSettings, headers: dict[str, str], name: str
) -> None:
    rtm_settings(api_auth="network")

    caller, _ = CallerAuthentication().authenticate(request(**headers))

    assert caller == Caller(name)  # type: ignore[arg-type]


def test_in_token_mode_a_header_does_not_authenticate(rtm_settings: RtmSettings) -> None:
    rtm_settings(api_auth="token")

    with pytest.raises(AuthenticationFailed, match="Authorization: Bearer"):
        CallerAuthentication().authenticate(request(**{"X-Galaxy-Caller": "gm"}))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "runtimes"),
        ("GET", "runtimes/g-1"),
        ("POST", "runtimes/g-1/start"),
        ("POST", "runtimes/g-1/stop"),
        ("POST", "runtimes/g-1/restart"),
        ("POST", "runtimes/g-1/patch"),
        ("DELETE", "runtimes/g-1/container"),
        ("GET", "runtimes/g-1/operations"),
        ("GET", "operations/1"),
        ("PATCH", "operations/1"),
    ],
)
def test_in_token_mode_every_call_is_refused_before_it_touches_anything(
    rtm_settings: RtmSettings, method: str, path: str
) -> None:
    rtm_settings(api_auth="token")

    response = Client().generic(method, f"/api/v1/internal/{path}", headers={"Authorization": "Bearer guess"})

    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")
    assert response["Content-Type"] == "application/json; charset=utf-8"
    assert response.json()["error"]["code"] == "unauthorized"


def test_in_token_mode_liveness_and_the_documentation_stay_open(rtm_settings: RtmSettings) -> None:
    rtm_settings(api_auth="token")

    statuses = [Client().get(path).status_code for path in ("/healthz", "/api/schema/", "/api/docs/")]

    assert statuses == [200, 200, 200]

"""Hosts that are not allowed, the content security policy, and pages of other sites."""

import subprocess
import sys
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings
from structlog.testing import capture_logs

from tests.conftest import RtmSettings
from tests.paths import ROOT

_START = "/api/v1/internal/runtimes/g-1/start"
_BODY = {"data": '{"image_ref": "engine:1.0.0"}', "content_type": "application/json"}


@pytest.mark.parametrize("host", ["10.0.0.9:8096", "rtm_web", "other.example"])
def test_the_liveness_check_answers_any_host(settings: Settings, host: str) -> None:
    settings.ALLOWED_HOSTS = ["rtm.example"]

    assert Client().get("/healthz", headers={"host": host}).status_code == 200


def test_the_liveness_check_answers_a_request_without_a_host() -> None:
    assert Client().get("/healthz", SERVER_NAME="waitress.invalid", SERVER_PROTOCOL="HTTP/1.0").status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/internal/runtimes", "/admin/"])
@pytest.mark.parametrize("host", ["other.example", "rtm_web", "rtm.example:x"])
def test_a_host_that_is_not_allowed_is_one_line_in_the_log(settings: Settings, host: str, path: str) -> None:
    settings.ALLOWED_HOSTS = ["rtm.example"]

    with capture_logs() as lines:
        response = Client(raise_request_exception=False).get(path, headers={"host": host})

    assert response.status_code == 400
    assert [(line["event"], line["host"]) for line in lines if line["log_level"] == "warning"] == [
        ("host_not_allowed", host)
    ]


@pytest.mark.parametrize("path", ["/admin/login/", "/api/docs/", "/healthz"])
def test_every_page_has_a_content_security_policy(path: str) -> None:
    policy = Client().get(path).headers["Content-Security-Policy"]

    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    script_source = policy.partition("script-src ")[2].partition(";")[0]
    assert "unsafe-inline" not in script_source


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, _BODY, 403),
        ({"sec-fetch-site": "same-site"}, _BODY, 403),
        ({"origin": "https://evil.example"}, _BODY, 403),
        ({"origin": "null"}, _BODY, 403),
        ({}, _BODY | {"content_type": "text/plain"}, 400),
        ({}, _BODY | {"content_type": "application/x-www-form-urlencoded"}, 400),
    ],
)
def test_on_a_trusted_network_a_page_of_another_site_changes_nothing(
    rtm_settings: RtmSettings, headers: dict[str, str], body: dict[str, Any], status: int
) -> None:
    rtm_settings(api_auth="network")

    # Without a database: the request is refused before anything is recorded.
    assert Client().post(_START, headers=headers, **body).status_code == status


@pytest.mark.parametrize("method", ["post", "delete"])
def test_a_page_of_another_site_cannot_send_a_request_without_a_body(rtm_settings: RtmSettings, method: str) -> None:
    rtm_settings(api_auth="network")
    path = "/api/v1/internal/runtimes/g-1/" + {"post": "restart", "delete": "container"}[method]

    assert getattr(Client(), method)(path, headers={"origin": "https://evil.example"}).status_code == 403


def test_the_deployment_check_is_clean_for_a_configured_installation() -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "RTMANAGER_PUBLIC_URL": "https://rtm.example",
        "RTMANAGER_TRUSTED_PROXIES": "127.0.0.1",
        "RTMANAGER_SECRET_KEY": "q8Jx-0123456789abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOP",
    }

    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, "no issues" in done.stdout) == (0, True), done.stderr

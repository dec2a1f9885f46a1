import json

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError
from django.test import Client, RequestFactory
from pytest_django import Settings

from rtmanager.http.error_handlers import server_error
from runtimes.api.base.exceptions import HTTP_STATUS, error_response, handle_exception
from runtimes.exceptions import ConflictError, ErrorCode
from tests.conftest import RtmSettings

JSON = "application/json; charset=utf-8"


@pytest.fixture
def client(rtm_settings: RtmSettings) -> Client:
    rtm_settings(api_auth="network")
    return Client(raise_request_exception=False)


def test_every_code_of_the_contract_has_its_http_status() -> None:
    assert set(HTTP_STATUS) == set(ErrorCode)


def test_an_unknown_code_gives_status_500() -> None:
    assert error_response("made_up", "?").status_code == 500


def test_an_error_of_ours_keeps_its_code_and_message() -> None:
    response = handle_exception(ConflictError("game g is busy"), {})

    assert (response.status_code, response.data) == (409, {"error": {"code": "conflict", "message": "game g is busy"}})


@pytest.mark.parametrize("error", [OperationalError("connection refused"), InterfaceError("connection closed")])
def test_a_lost_database_is_reported_as_unavailable_without_details(error: Exception) -> None:
    response = handle_exception(error, {})

    assert response.status_code == 503
    assert response.data["error"]["code"] == "service_unavailable"
    assert "refused" not in response.data["error"]["message"]


@pytest.mark.parametrize("error", [RuntimeError("secret"), IntegrityError("secret"), KeyError("secret")])
def test_an_unexpected_error_is_reported_as_internal_without_details(error: Exception) -> None:
    response = handle_exception(error, {})

    assert response.status_code == 500
    assert response.data["error"]["code"] == "internal_error"
    assert "secret" not in json.dumps(response.data)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/v1/internal/nowhere", 404, "not_found"),
        ("GET", "/api/v1/internal/runtimes/", 404, "not_found"),
        ("POST", "/api/v1/internal/runtimes/g-1/start/", 404, "not_found"),
        ("PUT", "/api/v1/internal/runtimes", 405, "invalid_request"),
        ("OPTIONS", "/api/v1/internal/runtimes", 405, "invalid_request"),
        ("TRACE", "/api/v1/internal/runtimes/g-1", 405, "invalid_request"),
        ("GET", "/api/v1/internal/runtimes/g-1/container", 405, "invalid_request"),
        ("POST", "/api/v1/internal/runtimes/g-1/container", 405, "invalid_request"),
        ("DELETE", "/api/v1/internal/runtimes/-g/container", 400, "invalid_request"),
        ("DELETE", "/api/v1/internal/runtimes/g-1/restart", 405, "invalid_request"),
        ("GET", "/api/v1/internal/runtimes/g-1/start", 405, "invalid_request"),
        ("DELETE", "/healthz", 405, "invalid_request"),
        ("GET", "/api/v1/internal/runtimes?limit=0", 400, "invalid_request"),
        ("GET", "/api/v1/internal/runtimes?limit=201", 400, "invalid_request"),
        ("GET", "/api/v1/internal/runtimes?limit=ten", 400, "invalid_request"),
        ("GET", "/api/v1/internal/runtimes?limit=%C2%B2", 400, "invalid_request"),
        ("GET", "/api/v1/internal/runtimes?cursor=*", 400, "invalid_request"),
        ("GET", "/api/v1/internal/runtimes?cursor=AAAA", 400, "invalid_request"),
        ("GET", "/api/v1/internal/runtimes?status=paused", 400, "invalid_request"),
        ("GET", "/api/v1/internal/runtimes/-g", 400, "invalid_request"),
        ("GET", "/api/v1/internal/runtimes/g%00", 400, "invalid_request"),
        ("GET", f"/api/v1/internal/runtimes/{'g' * 52}", 400, "invalid_request"),
        ("GET", "/api/v1/internal/runtimes/g-1/operations?cursor=Zw", 400, "invalid_request"),
        ("GET", "/api/v1/internal/operations/seven", 404, "not_found"),
        ("GET", "/api/v1/internal/operations/0", 404, "not_found"),
        ("GET", "/api/v1/internal/operations/-1", 404, "not_found"),
    ],
)
def test_every_refusal_has_the_envelope_and_the_content_type(
    client: Client, method: str, path: str, status: int, code: str
) -> None:
    response = client.generic(method, path)

    assert (response.status_code, response["Content-Type"]) == (status, JSON)
    assert response.json()["error"]["code"] == code
    assert response.json()["error"]["message"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_body_that_is_announced_as_something_else_is_refused(client: Client, content_type: str) -> None:
    response = client.generic("POST", "/api/v1/internal/runtimes/g-1/start", b'{"image_ref": "e:1"}', content_type)

    assert (response.status_code, response["Content-Type"]) == (400, JSON)
    assert "application/json" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "image_ref: This field is required."),
        (b'{"image_ref": 7}', "image_ref: Not a valid string."),
        (b'{"image_ref": "e:1", "force": true}', "unknown field 'force'"),
        (b"[]", "the body must be a JSON object"),
        (b"{", "the body is not valid JSON"),
        (b'{"image_ref": "' + b"x" * 70_000 + b'"}', "the body is larger than 65536 bytes"),
    ],
)
def test_a_bad_body_is_refused_before_anything_is_touched(client: Client, body: bytes, said: str) -> None:
    response = client.generic("POST", "/api/v1/internal/runtimes/g-1/start", body, "application/json")

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"
    assert said in response.json()["error"]["message"]


def test_a_body_without_content_type_is_refused_where_every_caller_is_trusted(client: Client) -> None:
    response = client.generic("POST", "/api/v1/internal/runtimes/g-1/stop", b'{"reason": "boredom"}', "")

    assert response.status_code == 400
    assert "Content-Type: application/json" in response.json()["error"]["message"]


def test_a_chunked_body_is_refused_rather_than_read_as_empty(client: Client) -> None:
    response = client.generic("POST", "/api/v1/internal/runtimes/g-1/stop", headers={"Transfer-Encoding": "chunked"})

    assert response.status_code == 400
    assert "Content-Length" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("runtimes", "GET, HEAD"), ("runtimes/g-1/start", "POST"), ("runtimes/g-1/container", "DELETE")],
)
def test_a_refused_method_names_those_that_work(client: Client, path: str, allowed: str) -> None:
    assert client.options(f"/api/v1/internal/{path}")["Allow"] == allowed


def test_a_head_of_a_reading_answers_without_a_body(client: Client) -> None:
    response = client.head("/healthz")

    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("key", ["", "two words", "k" * 256, "clé", "a\tb"])
def test_an_idempotency_key_that_cannot_be_meant_is_refused(client: Client, key: str) -> None:
    response = client.post(
        "/api/v1/internal/runtimes/g-1/stop", {"reason": "timeout"}, JSON, headers={"Idempotency-Key": key}
    )

    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")
    assert "Idempotency-Key" in response.json()["error"]["message"]


def test_whatever_a_caller_accepts_it_gets_json(client: Client) -> None:
    response = client.get("/healthz", headers={"Accept": "text/html"})

    assert (response.status_code, response["Content-Type"]) == (200, JSON)


@pytest.mark.parametrize(
    ("path", "content_type"), [("/api/v1/internal/runtimes", JSON), ("/admin/", "text/html; charset=utf-8")]
)
def test_an_error_outside_the_views_is_an_envelope_in_the_api_and_a_page_in_the_console(
    path: str, content_type: str
) -> None:
    response = server_error(RequestFactory().get(path))

    assert (response.status_code, response["Content-Type"]) == (500, content_type)
    assert (b'"internal_error"' in response.content) == (content_type == JSON)


def test_a_host_that_is_not_ours_is_refused_in_the_envelope(client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["rtm.example"]

    response = client.get("/api/v1/internal/runtimes", headers={"Host": "evil.example"})

    assert (response.status_code, response["Content-Type"]) == (400, JSON)
    assert response.json()["error"]["code"] == "invalid_request"


def test_an_unknown_page_of_the_admin_stays_a_page(client: Client) -> None:
    response = client.get("/static/nothing.css")

    assert (response.status_code, response["Content-Type"]) == (404, "text/html; charset=utf-8")

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs

from rtmanager.http.middleware import RequestLogMiddleware


def test_a_sane_request_id_is_echoed() -> None:
    assert Client().get("/healthz", headers={"X-Request-ID": "abc-1~2"})["X-Request-ID"] == "abc-1~2"


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "é", "a\tb"])
def test_any_other_request_id_is_replaced(given: str) -> None:
    echoed = Client().get("/healthz", headers={"X-Request-ID": given})["X-Request-ID"]

    assert echoed != given
    assert len(echoed) == 32


@pytest.mark.parametrize("path", ["/nowhere", "/admin/nowhere", "/static/nothing.css", "/api/v1/internal/runtimes"])
def test_refusals_carry_a_request_id_too(path: str) -> None:
    assert Client().get(path, headers={"X-Request-ID": "r-1"})["X-Request-ID"] == "r-1"


def test_the_id_is_bound_to_the_logs_of_its_request_and_of_no_other() -> None:
    seen = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append((request.headers["X-Request-ID"], get_contextvars()["request_id"]))
        return HttpResponse()

    RequestLogMiddleware(view)(RequestFactory().get("/", headers={"X-Request-ID": "r-1"}))

    assert seen == [("r-1", "r-1")]
    assert "request_id" not in get_contextvars()


def test_a_finished_request_is_logged_once_with_what_was_asked_and_answered() -> None:
    with capture_logs() as logs:
        Client().get("/nowhere")

    finished = [entry for entry in logs if entry["event"] == "request_finished"]
    assert [(entry["method"], entry["path"], entry["status"]) for entry in finished] == [("GET", "/nowhere", 404)]
    assert finished[0]["duration_ms"] >= 0


def test_a_healthy_answer_to_an_orchestrator_is_logged_for_debugging_only() -> None:
    with capture_logs() as logs:
        Client().get("/healthz")

    assert [entry["log_level"] for entry in logs if entry["event"] == "request_finished"] == ["debug"]

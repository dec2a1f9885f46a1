"""Errors outside the views: in the console a page that looks like it and leads back, elsewhere the envelope."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

_OVERVIEW = 'href="/admin/">Back to the overview'


def signed_in() -> Client:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_superuser("boss"))
    return browser


def has_side_bar(page: str) -> bool:
    return 'href="/admin/runtimes/runtime/"' in page


@pytest.mark.parametrize("path", ["/admin/runtimes/runtime/", "/admin/actions/restart/?game=g-1"])
def test_a_form_without_its_token_gets_a_page_of_the_console(path: str) -> None:
    response = signed_in().post(path, {"action": "x"})

    assert response.status_code == 403
    assert "The form was not accepted" in response.content.decode()
    assert _OVERVIEW in response.content.decode()
    assert has_side_bar(response.content.decode())


def test_a_sign_in_without_its_token_leads_back_to_the_sign_in_page_that_was_used() -> None:
    response = Client(enforce_csrf_checks=True).post("/admin/login/?next=/admin/games/g-1/", {"username": "boss"})

    assert response.status_code == 403
    assert 'href="/admin/login/?next=/admin/games/g-1/">Back to the sign-in page' in response.content.decode()
    assert not has_side_bar(response.content.decode())


@pytest.mark.parametrize("path", ["/admin/nonsense/", "/admin/actions/nonsense/", "/admin/games/%00/state"])
def test_an_unknown_page_of_the_console_leads_back(path: str) -> None:
    response = signed_in().get(path)

    assert response.status_code == 404
    assert "Page not found" in response.content.decode()
    assert _OVERVIEW in response.content.decode()
    assert has_side_bar(response.content.decode())


def test_an_unknown_page_of_the_console_shows_a_visitor_the_sign_in_page() -> None:
    response = Client().get("/admin/nonsense/")

    assert (response.status_code, response["Location"]) == (302, "/admin/login/?next=/admin/nonsense/")


def test_no_error_page_contains_what_the_client_sent() -> None:
    response = signed_in().get("/admin/<script>nonsense</script>/")

    assert response.status_code == 404
    assert not re.search("<script>nonsense", response.content.decode())


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("get", "/api/v1/internal/nonsense", 404, "not_found"),
        ("get", "/nonsense", 404, "not_found"),
        ("post", "/", 403, "forbidden"),
    ],
)
def test_other_paths_keep_the_envelope(method: str, path: str, status: int, code: str) -> None:
    response = getattr(signed_in(), method)(path)

    assert response.status_code == status
    assert response["Content-Type"] == "application/json; charset=utf-8"
    assert response.json()["error"]["code"] == code

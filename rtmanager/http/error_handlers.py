"""Error responses outside the views of the API: a page of the console, or the format of the contract."""

from datetime import datetime
from http import HTTPStatus

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views import defaults

from runtimes.api.base.exceptions import AccessCode, envelope
from runtimes.exceptions import ErrorCode

_CONSOLE = "/admin/"
_HTML_PATHS = (_CONSOLE, "/static/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """``handler400``: a request that Django refuses."""
    if _is_html(request):
        return defaults.bad_request(request, exception)
    return _error_response(HTTPStatus.BAD_REQUEST, ErrorCode.INVALID_REQUEST, "malformed request")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001  # Django names the argument
    """``handler403``."""
    if _is_html(request):
        text = "Your account does not have the permission for this page or action. Ask an administrator for it."
        return console_message(request, "Not allowed", text, status=HTTPStatus.FORBIDDEN)
    return _error_response(HTTPStatus.FORBIDDEN, AccessCode.FORBIDDEN, "not allowed")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """``CSRF_FAILURE_VIEW``: a form without the token of this browser. Django has logged the reason."""
    if _is_html(request):
        text = (
            "Nothing was changed. The form is too old, or this browser sends no cookies: open the page again. If that "
            "does not help, an administrator must check RTMANAGER_PUBLIC_URL."
        )
        return console_message(request, "The form was not accepted", text, status=HTTPStatus.FORBIDDEN)
    return _error_response(HTTPStatus.FORBIDDEN, AccessCode.FORBIDDEN, reason or "not allowed")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """``handler404``: an unknown path."""
    if request.path.startswith(_CONSOLE):
        text = "There is no such page, or what it showed does not exist any more."
        return console_message(request, "Page not found", text, status=HTTPStatus.NOT_FOUND)
    if _is_html(request):
        return defaults.page_not_found(request, exception)
    return _error_response(HTTPStatus.NOT_FOUND, ErrorCode.NOT_FOUND, f"unknown path {request.path[:200]!a}")


def server_error(request: HttpRequest) -> HttpResponse:
    """``handler500``: Django has logged the error."""
    if _is_html(request):
        return defaults.server_error(request)
    message = "unexpected error; search the log for this request id"
    return _error_response(HTTPStatus.INTERNAL_SERVER_ERROR, ErrorCode.INTERNAL_ERROR, message)


def console_message(
    request: HttpRequest, title: str, text: str, *, status: HTTPStatus, until: datetime | None = None
) -> HttpResponse:
    """A page of the console with a text and a link: for a user with the side bar, else like the sign-in page.

    ``until``: when the visitor may try again.
    """
    context = admin.site.each_context(request)
    is_user = context["has_permission"]
    is_sign_in = request.path == reverse("admin:login")
    context |= {
        "layout": "admin/base.html" if is_user else "unfold/layouts/unauthenticated.html",
        "title": title,
        "text": text,
        "until": until,
        # The address of the sign-in page names the page that follows it.
        "link": request.get_full_path() if is_sign_in else reverse("admin:index"),
        "link_text": "Back to the overview" if is_user else "Back to the sign-in page",
    }
    return render(request, "console/message.html", context, status=status)


def _is_html(request: HttpRequest) -> bool:
    return request.path.startswith(_HTML_PATHS)


def _error_response(status: HTTPStatus, code: str, message: str) -> HttpResponse:
    return JsonResponse(
        envelope(code, message),
        status=status,
        content_type="application/json; charset=utf-8",
        headers={"Cache-Control": "no-store"},
    )

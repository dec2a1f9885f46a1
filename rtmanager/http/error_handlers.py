"""Error responses outside the views of the API, in the format of the contract."""

from http import HTTPStatus

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views import defaults

from runtimes.api.base.exceptions import AccessCode, envelope
from runtimes.exceptions import ErrorCode

_HTML_PATHS = ("/admin/", "/static/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """``handler400``: a request that Django refuses."""
    if _is_html(request):
        return defaults.bad_request(request, exception)
    return _error_response(HTTPStatus.BAD_REQUEST, ErrorCode.INVALID_REQUEST, "malformed request")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001  # Django names the argument
    """``handler403``."""
    if _is_html(request):
        # The template of the console, with its side bar.
        return render(request, "403.html", admin.site.each_context(request), status=HTTPStatus.FORBIDDEN)
    return _error_response(HTTPStatus.FORBIDDEN, AccessCode.FORBIDDEN, "not allowed")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """``handler404``: an unknown path."""
    if _is_html(request):
        return defaults.page_not_found(request, exception)
    return _error_response(HTTPStatus.NOT_FOUND, ErrorCode.NOT_FOUND, f"unknown path {request.path[:200]!a}")


def server_error(request: HttpRequest) -> HttpResponse:
    """``handler500``: Django has logged the error."""
    if _is_html(request):
        return defaults.server_error(request)
    message = "unexpected error; search the log for this request id"
    return _error_response(HTTPStatus.INTERNAL_SERVER_ERROR, ErrorCode.INTERNAL_ERROR, message)


def _is_html(request: HttpRequest) -> bool:
    return request.path.startswith(_HTML_PATHS)


def _error_response(status: HTTPStatus, code: str, message: str) -> HttpResponse:
    return JsonResponse(
        envelope(code, message),
        status=status,
        content_type="application/json; charset=utf-8",
        headers={"Cache-Control": "no-store"},
    )

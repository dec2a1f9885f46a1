"""The last resort: what fails outside a view of the API still answers in the contract's envelope."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

from runtimes.api.errors import AccessCode, envelope
from runtimes.exceptions import ErrorCode

_FOR_PEOPLE = ("/admin/", "/static/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """``handler400``: a request that Django itself refuses."""
    if _is_for_people(request):
        return defaults.bad_request(request, exception)
    return _answer(HTTPStatus.BAD_REQUEST, ErrorCode.INVALID_REQUEST, "the request cannot be understood")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """``handler403``."""
    if _is_for_people(request):
        return defaults.permission_denied(request, exception)
    return _answer(HTTPStatus.FORBIDDEN, AccessCode.FORBIDDEN, "this is not allowed")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """``handler404``: no such address."""
    if _is_for_people(request):
        return defaults.page_not_found(request, exception)
    return _answer(HTTPStatus.NOT_FOUND, ErrorCode.NOT_FOUND, f"there is nothing at {request.path[:200]!a}")


def server_error(request: HttpRequest) -> HttpResponse:
    """``handler500``: Django has logged the reason."""
    if _is_for_people(request):
        return defaults.server_error(request)
    message = "unexpected error; the log tells more under this request id"
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, ErrorCode.INTERNAL_ERROR, message)


def _is_for_people(request: HttpRequest) -> bool:
    return request.path.startswith(_FOR_PEOPLE)


def _answer(status: HTTPStatus, code: str, message: str) -> HttpResponse:
    return JsonResponse(
        envelope(code, message),
        status=status,
        content_type="application/json; charset=utf-8",
        headers={"Cache-Control": "no-store"},
    )

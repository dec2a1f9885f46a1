"""Gives each request an id, for its logs and its response, and logs one line per request."""

import re
import time
import uuid
from collections.abc import Callable

import structlog
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.middleware.common import CommonMiddleware

from rtmanager.http.error_handlers import bad_request
from rtmanager.monitoring.metrics import http

log = structlog.get_logger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
_META_KEY = "HTTP_X_REQUEST_ID"
_VALID_ID = re.compile(r"[\x21-\x7e]{1,128}")

# Orchestrators and load balancers check these by address, without a host name that the settings allow.
_ANY_HOST_PATHS = ("/healthz", "/readyz", "/metrics")
# Their successful requests are not worth a line at level info.
_ROUTINE_PATHS = (*_ANY_HOST_PATHS, "/static/")

GetResponse = Callable[[HttpRequest], HttpResponse]


class RequestLogMiddleware:
    """The outermost middleware, so that every response has an id and is logged."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Process the request inside its log context."""
        started = time.monotonic()
        request_id = _request_id(request.META.get(_META_KEY, ""))
        # Views find the id among the headers, whether the caller sent one or not.
        request.META[_META_KEY] = request_id
        structlog.contextvars.clear_contextvars()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self._get_response(request)
            seconds = time.monotonic() - started
            _log_finished(request, status=response.status_code, seconds=seconds)
            http.record(request, status=response.status_code, seconds=seconds)
        response[REQUEST_ID_HEADER] = request_id
        return response


class HostCheckMiddleware(CommonMiddleware):
    """Django's checks of the URL. A host that is not allowed is one line in the log, without a traceback."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:  # type: ignore[override]  # a 400 too
        if request.path in _ANY_HOST_PATHS:
            return None
        try:
            return super().process_request(request)
        except DisallowedHost as error:
            log.warning("host_not_allowed", host=request.META.get("HTTP_HOST", ""), reason=str(error))
            return bad_request(request, error)


def _request_id(given: str) -> str:
    """Return the caller's id if it is safe to log and to echo, else a new one."""
    return given if _VALID_ID.fullmatch(given) else uuid.uuid4().hex


def _log_finished(request: HttpRequest, *, status: int, seconds: float) -> None:
    is_routine = status < 400 and request.path.startswith(_ROUTINE_PATHS)  # noqa: PLR2004  # the first HTTP error
    write = log.debug if is_routine else log.info
    write(
        "request_finished", method=request.method, path=request.path, status=status, duration_ms=round(seconds * 1000)
    )

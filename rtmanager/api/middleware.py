"""Every request has an id, which its logs and its answer carry, and one line in the log when it is done."""

import re
import time
import uuid
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

from rtmanager.api import requests

log = structlog.get_logger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
_META_KEY = "HTTP_X_REQUEST_ID"
_SANE_ID = re.compile(r"[\x21-\x7e]{1,128}")
_ROUTINE = ("/healthz", "/readyz", "/metrics", "/static/")

GetResponse = Callable[[HttpRequest], HttpResponse]


class RequestLogMiddleware:
    """Outermost of all, so that no answer leaves without its id and none goes unlogged."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request inside its log context."""
        started = time.monotonic()
        request_id = _request_id(request.META.get(_META_KEY, ""))
        # Views read the id where they read all headers, and find it whether the caller sent one or not.
        request.META[_META_KEY] = request_id
        structlog.contextvars.clear_contextvars()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self._get_response(request)
            seconds = time.monotonic() - started
            _log_finished(request, status=response.status_code, seconds=seconds)
            requests.note(request, status=response.status_code, seconds=seconds)
        response[REQUEST_ID_HEADER] = request_id
        return response


def _request_id(given: str) -> str:
    """The caller's id when it is safe to log and to echo, else a new one."""
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def _log_finished(request: HttpRequest, *, status: int, seconds: float) -> None:
    is_routine = status < 400 and request.path.startswith(_ROUTINE)  # noqa: PLR2004  # where HTTP's errors begin
    write = log.debug if is_routine else log.info
    write(
        "request_finished", method=request.method, path=request.path, status=status, duration_ms=round(seconds * 1000)
    )

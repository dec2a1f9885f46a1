"""Errors as the contract's envelope, ``{"error": {"code", "message"}}``, and the HTTP status of each code."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings

from runtimes.exceptions import ErrorCode, RuntimeManagerError

log = structlog.get_logger(__name__)

HTTP_STATUS: Mapping[str, HTTPStatus] = {
    ErrorCode.INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
    ErrorCode.START_CONFIG_INVALID: HTTPStatus.BAD_REQUEST,
    ErrorCode.IMAGE_REF_NOT_SEMVER: HTTPStatus.BAD_REQUEST,
    ErrorCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.CONFLICT: HTTPStatus.CONFLICT,
    ErrorCode.SEMVER_PATCH_ONLY: HTTPStatus.CONFLICT,
    ErrorCode.IMAGE_PULL_FAILED: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.CONTAINER_START_FAILED: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.SERVICE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.DOCKER_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.REPLAY_NO_OP: HTTPStatus.OK,
}

# Lost or refused connections. Every other database error is a bug in RTM.
DATABASE_AWAY = (OperationalError, InterfaceError)

Envelope = dict[str, dict[str, str]]


class AccessCode(StrEnum):
    """Codes for a rejected caller. They only exist in HTTP; no job result contains them."""

    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"


# The codes of the contract and the HTTP-only ones.
STATUS_OF_CODE: Mapping[str, HTTPStatus] = {
    **HTTP_STATUS,
    AccessCode.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    AccessCode.FORBIDDEN: HTTPStatus.FORBIDDEN,
}


def envelope(code: str, message: str) -> Envelope:
    """The body of every error response."""
    return {"error": {"code": str(code), "message": message}}


def error_response(code: str, message: str) -> Response:
    """The response for this code; status 500 for an unknown one."""
    status = STATUS_OF_CODE.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)
    return Response(envelope(code, message), status=status)


def handle_exception(error: Exception, _context: Mapping[str, Any]) -> Response:
    """DRF's EXCEPTION_HANDLER. It handles every exception: an unexpected one is logged, as ``internal_error``."""
    if isinstance(error, RuntimeManagerError):
        return error_response(error.code, error.message)
    if isinstance(error, DATABASE_AWAY):
        log.warning("database_found_unavailable", error=str(error).strip())
        return error_response(ErrorCode.SERVICE_UNAVAILABLE, "the database cannot be reached; try again later")
    if isinstance(error, Http404):
        return error_response(ErrorCode.NOT_FOUND, "no such URL")
    if isinstance(error, PermissionDenied | exceptions.PermissionDenied):
        return error_response(AccessCode.FORBIDDEN, str(error))
    if isinstance(error, exceptions.APIException):
        return _http_error(error)
    log.error("request_failed_unexpectedly", exc_info=error)
    return error_response(ErrorCode.INTERNAL_ERROR, "unexpected error; search the log for this request id")


def _http_error(error: exceptions.APIException) -> Response:
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        challenge = getattr(error, "auth_header", "Bearer")
        body = envelope(AccessCode.UNAUTHORIZED, str(error.detail))
        return Response(body, status=HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": challenge})
    message = "; ".join(_sentences(error.detail))
    if isinstance(error, exceptions.MethodNotAllowed):
        return Response(envelope(ErrorCode.INVALID_REQUEST, message), status=HTTPStatus.METHOD_NOT_ALLOWED)
    if isinstance(error, exceptions.UnsupportedMediaType):
        message = "send the body as Content-Type: application/json"
    # The contract has one status for all malformed input, even where HTTP has a more specific one.
    return error_response(ErrorCode.INVALID_REQUEST, message)


def _sentences(detail: Any, where: str = "") -> Iterator[str]:
    """Flatten DRF's nested error details into ``field: problem``."""
    if isinstance(detail, Mapping):
        for field, inner in detail.items():
            yield from _sentences(inner, "" if field == api_settings.NON_FIELD_ERRORS_KEY else str(field))
    elif isinstance(detail, list | tuple):
        for inner in detail:
            yield from _sentences(inner, where)
    else:
        yield f"{where}: {detail}" if where else str(detail)

"""Waiting for an operation, the response with its outcome, and the headers that control both."""

import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from threading import BoundedSemaphore

from django.conf import settings
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api.serializers import OperationSerializer
from operations.completion_notifier import wait_until_finished
from operations.idempotency import store_response
from operations.models import IdempotencyKey, Operation
from operations.states import Outcome
from runtimes.api.base.exceptions import error_response
from runtimes.api.serializers import serialize
from runtimes.api.views import find_runtime
from runtimes.exceptions import InvalidRequestError
from runtimes.process import shutting_down

# How soon a waiting call notices that the process shuts down.
_SLICE_SECONDS = 1.0
# Each held call occupies a thread: at most half of the threads of the web process.
held_calls = BoundedSemaphore(max(1, settings.RTMANAGER.web_threads // 2))


def wait(operation: Operation, *, timeout_seconds: float) -> Operation:
    """Wait until the operation finishes, the time is over or the process shuts down; return its row.

    Does not wait if half of the threads wait already.
    """
    deadline = time.monotonic() + timeout_seconds
    if not held_calls.acquire(blocking=False):
        return operation
    try:
        while operation.is_open and not shutting_down.is_set() and (left := deadline - time.monotonic()) > 0:
            operation = wait_until_finished(operation, timeout_seconds=min(left, _SLICE_SECONDS))
    finally:
        held_calls.release()
    return operation


def idle(seconds: float) -> bool:
    """Wait for this time; return False at once if the process shuts down."""
    return not shutting_down.wait(seconds)


_RETRY_AFTER_SECONDS = 1


def outcome_response(operation: Operation, *, key: IdempotencyKey | None = None) -> Response:
    """The outcome of a finished operation, or 202 for an open one.

    With an idempotency key, a success returns the same record as the first response.
    """
    if operation.is_open:
        return accepted_response(operation)
    if operation.outcome == Outcome.FAILURE:
        return error_response(operation.error_code, operation.error_message)
    record = serialize(find_runtime(operation.game_id))
    if key is not None:
        stored = store_response(key, record)
        # The database does not keep the order of the keys.
        record = {name: stored[name] for name in record}
    return Response(record)


def accepted_response(operation: Operation) -> Response:
    """202: the operation is recorded and will run. ``Location`` is the address of its outcome."""
    headers = {
        "Location": reverse("operation", kwargs={"operation_id": operation.pk}),
        "Retry-After": str(_RETRY_AFTER_SECONDS),
    }
    return Response(OperationSerializer(operation).data, status=HTTPStatus.ACCEPTED, headers=headers)


PREFER_HEADER = "Prefer"
APPLIED_HEADER = "Preference-Applied"
KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotent-Replayed"
KEY_PATTERN = r"[\x21-\x7e]{1,255}"

_KEY = re.compile(KEY_PATTERN)
_SECONDS = re.compile(r"[0-9]{1,9}")
# Commas separate preferences, except inside quotes.
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')


@dataclass(frozen=True, slots=True)
class PreferHeader:
    """The preferences of the caller. Unknown and malformed ones are ignored (RFC 7240)."""

    respond_async: bool = False
    wait_seconds: int | None = None

    def timeout(self, longest_seconds: float) -> float:
        """How long to hold the call: as the caller prefers, but at most ``longest_seconds``."""
        if self.wait_seconds is not None:
            return min(self.wait_seconds, longest_seconds)
        return 0.0 if self.respond_async else longest_seconds

    def applied(self, longest_seconds: float) -> str:
        """The value of ``Preference-Applied`` on a 202; empty without preferences."""
        is_applied = self.wait_seconds is not None and self.wait_seconds <= longest_seconds
        applied = ["respond-async"] if self.respond_async else []
        return ", ".join([*applied, f"wait={self.wait_seconds}"] if is_applied else applied)


def read_preferences(request: Request) -> PreferHeader:
    """Parse the header. If a preference occurs twice, the first counts."""
    found: dict[str, str] = {}
    for preference in _PREFERENCE.findall(request.headers.get(PREFER_HEADER, "")):
        name, _separator, value = preference.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    wait = found.get("wait", "")
    return PreferHeader(
        respond_async="respond-async" in found, wait_seconds=int(wait) if _SECONDS.fullmatch(wait) else None
    )


def read_key(request: Request) -> str:
    """The idempotency key, empty without one. Raises InvalidRequestError for an invalid key."""
    key: str | None = request.headers.get(KEY_HEADER)
    if key is None:
        return ""
    if not _KEY.fullmatch(key):
        message = f"{KEY_HEADER}: must be 1 to 255 visible ASCII characters"
        raise InvalidRequestError(message)
    return key

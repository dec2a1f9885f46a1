"""From an operation to the HTTP answer of the call that asked for it."""

from http import HTTPStatus

from django.urls import reverse
from rest_framework.response import Response

from operations.api.records import OperationSerializer
from operations.idempotency import remember_record
from operations.models import IdempotencyKey, Operation
from operations.states import Outcome
from runtimes.api.errors import error_response
from runtimes.api.records import show
from runtimes.api.views import find_runtime

_RETRY_AFTER_SECONDS = 1


def answer(operation: Operation, *, key: IdempotencyKey | None = None) -> Response:
    """The outcome of a finished operation, or 202 for one that is still open. Never says more than the row does.

    Under an idempotency key, a success shows the record as the first answer did, whatever happened since.
    """
    if operation.is_open:
        return answer_accepted(operation)
    if operation.outcome == Outcome.FAILURE:
        return error_response(operation.error_code, operation.error_message)
    record = show(find_runtime(operation.game_id))
    if key is not None:
        told = remember_record(key, record)
        # The database does not keep the order of keys.
        record = {name: told[name] for name in record}
    return Response(record)


def answer_accepted(operation: Operation) -> Response:
    """202: on record and bound to be done; ``Location`` is where its outcome will be."""
    headers = {
        "Location": reverse("operation", kwargs={"operation_id": operation.pk}),
        "Retry-After": str(_RETRY_AFTER_SECONDS),
    }
    return Response(OperationSerializer(operation).data, status=HTTPStatus.ACCEPTED, headers=headers)

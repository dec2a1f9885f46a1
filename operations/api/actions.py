"""Actions over HTTP: check the input, record the operation, wait for it, and return its outcome."""

import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api.completion import (
    APPLIED_HEADER,
    REPLAYED_HEADER,
    PreferHeader,
    accepted_response,
    outcome_response,
    read_key,
    read_preferences,
    wait,
)
from operations.api.openapi import describe_action
from operations.api.serializers import PatchBody, RestartBody, StartBody, StopBody
from operations.completion_notifier import completion_notifier
from operations.idempotency import accept_once
from operations.intake import OperationRequest, accept_unless_busy
from operations.models import IdempotencyKey, Operation
from operations.monitoring.spans import rest_job_key
from operations.states import OperationKind, OperationSource
from runtimes.api.base.exceptions import DATABASE_AWAY
from runtimes.api.base.parsers import StrictBody
from runtimes.api.base.views import ApiView
from runtimes.exceptions import ErrorCode, ServiceUnavailableError
from runtimes.game_ids import check_game_id
from runtimes.states import CallerName

log = structlog.get_logger(__name__)

OP_SOURCES: Mapping[CallerName, OperationSource] = {
    CallerName.GM: OperationSource.GM_REST,
    CallerName.ADMIN: OperationSource.ADMIN_REST,
}


class ActionView(ApiView):
    """One action on one game.

    A subclass names the kind and the body. The fields of the body become the arguments of the operation. Without a
    body class, the view ignores the body of the request.
    """

    op_kind: ClassVar[OperationKind]
    body: ClassVar[type[StrictBody] | None] = None

    def perform(self, request: Request, game_id: str) -> Response:
        """Perform the action. Records nothing if the input is invalid, the game is busy or Redis is down."""
        check_game_id(game_id)
        arguments = self._read_arguments(request)
        preferences, key = read_preferences(request), read_key(request)
        operation_request = OperationRequest(
            game_id=game_id,
            op_kind=self.op_kind,
            op_source=OP_SOURCES[self.caller.name],
            job_key=rest_job_key(str(uuid.uuid4()), traceparent=request.headers.get("traceparent", "")),
            source_ref=request.headers.get("X-Request-ID", ""),
            arguments=arguments,
        )
        completion_notifier().ping()
        if not key:
            return _respond(accept_unless_busy(operation_request), preferences)
        known, is_replayed = accept_once(operation_request, caller=self.caller.name, key=key)
        response = _respond(known.operation, preferences, key=known)
        if is_replayed:
            response[REPLAYED_HEADER] = "true"
        return response

    def _read_arguments(self, request: Request) -> Mapping[str, Any]:
        if self.body is None:
            return {}
        body = self.body(data=self.read_body(request))
        body.is_valid(raise_exception=True)
        arguments: Mapping[str, Any] = body.validated_data
        return arguments


class StartView(ActionView):
    """Start a game."""

    op_kind = OperationKind.START
    body = StartBody

    @describe_action(
        "internalStartRuntime",
        "Start a game's engine",
        body=StartBody,
        codes=[
            ErrorCode.START_CONFIG_INVALID,
            ErrorCode.IMAGE_PULL_FAILED,
            ErrorCode.CONTAINER_START_FAILED,
        ],
    )
    def post(self, request: Request, game_id: str) -> Response:
        """If the game already runs this image, it is 200 and nothing changes; with another image it is a `conflict`.

        With `no_start` the container is created but not started; a second such call is a `conflict`.
        """
        return self.perform(request, game_id)


class StopView(ActionView):
    """Stop a game."""

    op_kind = OperationKind.STOP
    body = StopBody

    @describe_action("internalStopRuntime", "Stop a game's engine", body=StopBody, codes=[ErrorCode.NOT_FOUND])
    def post(self, request: Request, game_id: str) -> Response:
        """If the game does not run, it is 200 and nothing changes. The container and the state directory stay."""
        return self.perform(request, game_id)


class RestartView(ActionView):
    """Restart a game."""

    op_kind = OperationKind.RESTART
    body = RestartBody

    @describe_action(
        "internalRestartRuntime",
        "Recreate a game's container with the same image",
        body=RestartBody,
        codes=[
            ErrorCode.NOT_FOUND,
            ErrorCode.START_CONFIG_INVALID,
            ErrorCode.IMAGE_PULL_FAILED,
            ErrorCode.CONTAINER_START_FAILED,
        ],
    )
    def post(self, request: Request, game_id: str) -> Response:
        """Creates a new container with the same endpoint and state. A removed runtime is a `conflict`.

        With `if_ended_by`, a game that was started, stopped or removed meanwhile stays. The body is optional.
        """
        return self.perform(request, game_id)


class PatchView(ActionView):
    """Patch a game."""

    op_kind = OperationKind.PATCH
    body = PatchBody

    @describe_action(
        "internalPatchRuntime",
        "Move a game to another patch version of its engine",
        body=PatchBody,
        codes=[
            ErrorCode.NOT_FOUND,
            ErrorCode.START_CONFIG_INVALID,
            ErrorCode.IMAGE_REF_NOT_SEMVER,
            ErrorCode.SEMVER_PATCH_ONLY,
            ErrorCode.IMAGE_PULL_FAILED,
            ErrorCode.CONTAINER_START_FAILED,
        ],
    )
    def post(self, request: Request, game_id: str) -> Response:
        """Pulls the new image before it stops the game. If the new image does not stay up, the old one starts again.

        If the game already has this image, it is 200 and nothing changes. A removed runtime is a `conflict`.
        """
        return self.perform(request, game_id)


class CleanupView(ActionView):
    """Remove a game's container."""

    op_kind = OperationKind.CLEANUP_CONTAINER

    @describe_action(
        "internalCleanupRuntimeContainer", "Remove a stopped game's container", codes=[ErrorCode.NOT_FOUND]
    )
    def delete(self, request: Request, game_id: str) -> Response:
        """A running game is a `conflict`. For a removed game it is 200; nothing changes. The state directory stays."""
        return self.perform(request, game_id)


ACTION_VIEWS: Mapping[str, type[ActionView]] = {
    view.op_kind: view for view in (StartView, StopView, RestartView, PatchView, CleanupView)
}


def _respond(operation: Operation, preferences: PreferHeader, *, key: IdempotencyKey | None = None) -> Response:
    longest = settings.RTMANAGER.rest_wait_seconds
    timeout = preferences.timeout(longest)
    if preferences.respond_async and not timeout:
        response = accepted_response(operation)
    else:
        response = _respond_within(timeout, operation, key=key)
    if response.status_code == HTTPStatus.ACCEPTED and (applied := preferences.applied(longest)):
        response[APPLIED_HEADER] = applied
    return response


def _respond_within(seconds: float, operation: Operation, *, key: IdempotencyKey | None) -> Response:
    try:
        return outcome_response(wait(operation, timeout_seconds=seconds), key=key)
    except (*DATABASE_AWAY, ServiceUnavailableError) as error:
        # The operation is recorded and will run. A 503 would wrongly say that nothing happens.
        log.warning("operation_wait_interrupted", operation_id=operation.pk, error=str(error).strip())
        return accepted_response(operation)

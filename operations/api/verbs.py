"""The verbs over HTTP: check the input, record the operation, wait for its outcome, answer with it."""

import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from operations import replays
from operations.api.answers import answer, answer_accepted
from operations.api.bodies import PatchBody, RestartBody, StartBody, StopBody
from operations.api.preferences import (
    APPLIED_HEADER,
    REPLAYED_HEADER,
    Preferences,
    read_key,
    read_preferences,
)
from operations.api.schema import describe_verb
from operations.api.waiting import wait
from operations.idempotency import accept_once
from operations.intake import OperationRequest, accept_unless_busy
from operations.models import IdempotencyKey, Operation
from operations.replies import replies
from operations.spans import rest_job_key
from operations.states import OpKind, OpSource
from runtimes.api.base import ContractView
from runtimes.api.callers import Caller
from runtimes.api.errors import DATABASE_AWAY
from runtimes.api.records import show
from runtimes.api.strict import StrictBody
from runtimes.exceptions import ErrorCode, ServiceUnavailableError
from runtimes.games import check_game_id
from runtimes.states import CallerName

log = structlog.get_logger(__name__)

OP_SOURCES: Mapping[CallerName, OpSource] = {
    CallerName.GM: OpSource.GM_REST,
    CallerName.ADMIN: OpSource.ADMIN_REST,
}


class VerbView(ContractView):
    """One verb on one game.

    A subclass names the kind and the body; what the body holds becomes the operation's arguments. Without a body
    nothing of it is read, whatever was sent.
    """

    op_kind: ClassVar[OpKind]
    body: ClassVar[type[StrictBody] | None] = None

    def perform(self, request: Request, game_id: str) -> Response:
        """Do the verb. Nothing is recorded when the input is wrong, the game is busy or Redis is away."""
        check_game_id(game_id)
        arguments = self._read_arguments(request)
        preferences, key = read_preferences(request), read_key(request)
        caller = _caller_of(request)
        asked = OperationRequest(
            game_id=game_id,
            op_kind=self.op_kind,
            op_source=OP_SOURCES[caller.name],
            job_key=rest_job_key(str(uuid.uuid4()), traceparent=request.headers.get("traceparent", "")),
            source_ref=request.headers.get("X-Request-ID", ""),
            arguments=arguments,
        )
        if not (key or preferences.respond_async) and (done := _answer_replay(asked)) is not None:
            return done
        replies().ping()
        if not key:
            return _wait_and_answer(accept_unless_busy(asked), preferences)
        known, is_replayed = accept_once(asked, caller=caller.name, key=key)
        response = _wait_and_answer(known.operation, preferences, key=known)
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


class StartView(VerbView):
    """Start a game."""

    op_kind = OpKind.START
    body = StartBody

    @describe_verb(
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
        """Running with the same image already: 200 and nothing changes. Running with another image: `conflict`.

        With `no_start` everything is prepared and nothing runs; a second such call is a `conflict`.
        """
        return self.perform(request, game_id)


class StopView(VerbView):
    """Stop a game."""

    op_kind = OpKind.STOP
    body = StopBody

    @describe_verb("internalStopRuntime", "Stop a game's engine", body=StopBody, codes=[ErrorCode.NOT_FOUND])
    def post(self, request: Request, game_id: str) -> Response:
        """Stopped or removed already: 200 and nothing changes. The container and the state directory stay."""
        return self.perform(request, game_id)


class RestartView(VerbView):
    """Restart a game."""

    op_kind = OpKind.RESTART
    body = RestartBody

    @describe_verb(
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
        """A new container, the same endpoint and state; a removed runtime is a `conflict`. The body may be empty."""
        return self.perform(request, game_id)


class PatchView(VerbView):
    """Patch a game."""

    op_kind = OpKind.PATCH
    body = PatchBody

    @describe_verb(
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
        """The new image is pulled before the game is disturbed; if it does not stay up, the old one is put back.

        The same image already: 200 and nothing changes. A removed runtime is a `conflict`.
        """
        return self.perform(request, game_id)


class CleanupView(VerbView):
    """Remove a game's container."""

    op_kind = OpKind.CLEANUP_CONTAINER

    @describe_verb("internalCleanupRuntimeContainer", "Remove a stopped game's container", codes=[ErrorCode.NOT_FOUND])
    def delete(self, request: Request, game_id: str) -> Response:
        """A running game is a `conflict`; removed already: 200 and nothing changes. The state directory stays."""
        return self.perform(request, game_id)


def _caller_of(request: Request) -> Caller:
    caller = request.user
    if not isinstance(caller, Caller):
        message = "the permission class let an unknown caller pass"
        raise TypeError(message)
    return caller


def _answer_replay(asked: OperationRequest) -> Response | None:
    """Where nothing is to be done, nobody has to be waited for: the answer to a replay, None for all else."""
    record = replays.answer_call(asked)
    return Response(show(record)) if record else None


def _wait_and_answer(operation: Operation, preferences: Preferences, *, key: IdempotencyKey | None = None) -> Response:
    longest = settings.RTMANAGER.rest_wait_seconds
    patience = preferences.patience(longest)
    if preferences.respond_async and not patience:
        response = answer_accepted(operation)
    else:
        response = _answer_within(patience, operation, key=key)
    if response.status_code == HTTPStatus.ACCEPTED and (applied := preferences.applied(longest)):
        response[APPLIED_HEADER] = applied
    return response


def _answer_within(seconds: float, operation: Operation, *, key: IdempotencyKey | None) -> Response:
    try:
        return answer(wait(operation, timeout_seconds=seconds), key=key)
    except (*DATABASE_AWAY, ServiceUnavailableError) as error:
        # It is on record and will be done: 503, which means "nothing done", would be a lie.
        log.warning("operation_wait_interrupted", operation_id=operation.pk, error=str(error).strip())
        return answer_accepted(operation)

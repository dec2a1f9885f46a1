"""Why is this game as it is? One call, whatever the state of game and servers."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api.explanation import ExplanationSerializer
from operations.gathering import explain_game
from runtimes.api.base import ContractView
from runtimes.api.schema import ALWAYS, GAME_ID, errors
from runtimes.exceptions import ErrorCode
from runtimes.games import check_game_id


class ExplainView(ContractView):
    """The explanation of one game."""

    @extend_schema(
        operation_id="internalExplainRuntime",
        summary="Explain why a game is as it is, what to do, and what happens by itself",
        parameters=[GAME_ID, *ALWAYS],
        responses={200: ExplanationSerializer, **errors(ErrorCode.INVALID_REQUEST)},
    )
    def get(self, _request: Request, game_id: str) -> Response:
        """Looks at the records, Docker and Redis, each for 2 s at most; what does not answer is said to be unknown.

        Also for a game that was never heard of. The number of queries is the same whatever has happened.
        """
        check_game_id(game_id)
        return Response(explain_game(game_id).as_json())

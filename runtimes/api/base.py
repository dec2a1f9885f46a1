"""What all views of the API share: JSON in, JSON out, nothing cached, nothing negotiated."""

from collections.abc import Iterable, Sequence
from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from runtimes.api.callers import CallerAuthentication, MayCall
from runtimes.api.strict import StrictJSONParser
from runtimes.exceptions import InvalidRequestError


class ContractRenderer(JSONRenderer):
    """JSON that names its encoding, as the contract wants it."""

    charset = "utf-8"


class AlwaysJSON(DefaultContentNegotiation):
    """One format for everybody: an odd Accept is no reason to refuse, a missing Content-Type means JSON."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        """The parser for the body's media type; None makes DRF refuse it."""
        return super().select_parser(request, parsers) if request.content_type else next(iter(parsers))

    def select_renderer(  # type: ignore[override]  # the stubs ask for an iterator; DRF passes a list
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """The only renderer there is."""
        del request, format_suffix
        return renderers[0], renderers[0].media_type


class ContractView(APIView):
    """Base of the API's views. No session and no CSRF: a browser's cookie is worth nothing here."""

    authentication_classes = [CallerAuthentication]
    permission_classes = [MayCall]
    parser_classes = [StrictJSONParser]
    renderer_classes = [ContractRenderer]
    content_negotiation_class = AlwaysJSON
    metadata_class = None
    # What can be done here is in the OpenAPI document; browsers of other sites have no business here.
    http_method_names = ["get", "head", "post", "delete"]

    def read_body(self, request: Request) -> Any:
        """The decoded JSON body, ``{}`` when there is none. Raises InvalidRequestError."""
        # Django reads no body without a Content-Length, so a chunked one that the server in front did not
        # measure (rtmanager/api/bodies.py does) would pass for an empty one.
        if request.headers.get("Transfer-Encoding") and not request.headers.get("Content-Length"):
            message = "send the body with a Content-Length, not in chunks"
            raise InvalidRequestError(message)
        return request.data

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Add what every answer carries."""
        final = super().finalize_response(request, response, *args, **kwargs)
        final["Cache-Control"] = "no-store"
        return final

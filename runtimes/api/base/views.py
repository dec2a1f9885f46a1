"""The base of all API views: JSON only, no caching, no content negotiation."""

from collections.abc import Iterable, Sequence
from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from runtimes.api.base.authentication import Caller, CallerAuthentication, HasRequiredScope
from runtimes.api.base.parsers import StrictJSONParser
from runtimes.exceptions import InvalidRequestError


class EnvelopeRenderer(JSONRenderer):
    """JSON with a charset in the Content-Type, as the contract requires."""

    charset = "utf-8"


class AlwaysJSON(DefaultContentNegotiation):
    """Always use JSON: ignore the Accept header, and treat a missing Content-Type as JSON."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        return super().select_parser(request, parsers) if request.content_type else next(iter(parsers))

    def select_renderer(  # type: ignore[override]  # the stubs ask for an iterator; DRF passes a list
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        del request, format_suffix
        return renderers[0], renderers[0].media_type


class ApiView(APIView):
    """Base of the API views. Without sessions and CSRF: cookies do not authenticate here."""

    authentication_classes = [CallerAuthentication]
    permission_classes = [HasRequiredScope]
    parser_classes = [StrictJSONParser]
    renderer_classes = [EnvelopeRenderer]
    content_negotiation_class = AlwaysJSON
    metadata_class = None
    # Whether changes are for the caller ``admin`` only.
    is_for_admins = False
    # Without OPTIONS: the OpenAPI document describes the API, and browsers of other sites get no CORS response.
    http_method_names = ["get", "head", "post", "delete"]

    @property
    def caller(self) -> Caller:
        """The authenticated service that sent the request."""
        caller = self.request.user
        if not isinstance(caller, Caller):
            message = "the permission class accepted an unknown caller"
            raise TypeError(message)
        return caller

    def read_body(self, request: Request) -> Any:
        """Return the decoded JSON body, or ``{}`` without one. Raises InvalidRequestError."""
        # Django reads no body without a Content-Length. Our web server sets it for a chunked body; another server may
        # not, and the body would look empty.
        if request.headers.get("Transfer-Encoding") and not request.headers.get("Content-Length"):
            message = "send the body with a Content-Length, not chunked"
            raise InvalidRequestError(message)
        return request.data

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        final = super().finalize_response(request, response, *args, **kwargs)
        final["Cache-Control"] = "no-store"
        return final

"""Authentication and permissions of API callers. Fails closed: an unauthenticated caller gets no access."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from runtimes import api_tokens
from runtimes.exceptions import InvalidRequestError
from runtimes.states import CallerName, Scope

log = structlog.get_logger(__name__)

CALLER_HEADER = "X-Galaxy-Caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """The service that sent a request, and its scopes."""

    name: CallerName
    scopes: frozenset[str] = frozenset(Scope.values)


def authenticate_by_header(request: Request) -> Caller:
    """Mode ``network``: trust every caller, and its caller header. Without the header, the caller is ``admin``.

    A browser also sends requests of other sites, so a change that one of them caused is refused.
    """
    if request.method not in SAFE_METHODS:
        _refuse_other_sites(request)
    return Caller(CallerName.GM if request.headers.get(CALLER_HEADER) == CallerName.GM else CallerName.ADMIN)


def _refuse_other_sites(request: Request) -> None:
    origin = request.headers.get("Origin", "")
    own_origins = {f"{request.scheme}://{request.headers.get('Host', '')}", settings.RTMANAGER.public_url}
    is_other_site = request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}
    if is_other_site or (origin and origin not in own_origins):
        message = f"a page of another site ({origin[:200]!a}) may not change games; call the API from a program"
        raise PermissionDenied(message)
    # A browser sends a POST with such a body to another site without asking that site first (CORS). It always asks
    # before a DELETE.
    content_type = (request.content_type or "").partition(";")[0].strip().lower()
    has_body = request.headers.get("Content-Length", "0") not in {"", "0"}
    if request.method == "POST" and has_body and content_type != "application/json":
        message = "send the body with Content-Type: application/json"
        raise InvalidRequestError(message)


def authenticate_by_token(request: Request) -> Caller:
    """Mode ``token``: the bearer token identifies the caller; the caller header is ignored."""
    scheme, _separator, bearer = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        message = "a bearer token is required: send Authorization: Bearer rtm_…"
        raise AuthenticationFailed(message)
    try:
        token = api_tokens.check(bearer.strip(), now=timezone.now())
    except api_tokens.TokenRefusedError as refused:
        log.info("api_token_refused", token=refused.public_id, reason=str(refused))
        raise AuthenticationFailed(str(refused)) from None
    structlog.contextvars.bind_contextvars(token=token.public_id)
    return Caller(CallerName(token.caller), token.scope_names)


AUTHENTICATORS: Mapping[str, Callable[[Request], Caller]] = {
    "network": authenticate_by_header,
    "token": authenticate_by_token,
}


class CallerAuthentication(BaseAuthentication):
    """Authenticate the caller as RTMANAGER_API_AUTH says; ``request.user`` is then a Caller."""

    def authenticate(self, request: Request) -> tuple[Caller, None]:
        return AUTHENTICATORS[settings.RTMANAGER.api_auth](request), None

    def authenticate_header(self, request: Request) -> str:
        del request
        return "Bearer"


class HasRequiredScope(BasePermission):
    """Safe methods need the scope ``read``, all others ``operate``; a view may keep those for the caller ``admin``.

    Also denies access to a view without authentication, in case a view omits it by mistake.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        needed = Scope.READ if request.method in SAFE_METHODS else Scope.OPERATE
        self.message = f"this token lacks the scope {needed.value!r}"
        if not isinstance(request.user, Caller) or needed not in request.user.scopes:
            return False
        self.message = "only the caller admin may do this"
        is_for_admins = needed == Scope.OPERATE and getattr(view, "is_for_admins", False)
        return not is_for_admins or request.user.name == CallerName.ADMIN


class CallerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself when defined
    """The authentication in the OpenAPI document."""

    target_class = CallerAuthentication
    name = "callerToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        del auto_schema
        description = (
            "Create it with `manage.py api_token create` or in the console. It belongs to a caller and has scopes "
            "(`read` for GET, `operate` for all other methods). Not needed with `RTMANAGER_API_AUTH=network`."
        )
        return {"type": "http", "scheme": "bearer", "description": description}

"""Who calls the API and what they may. Fails closed: without a way to tell callers apart nobody is answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from runtimes import tokens
from runtimes.states import CallerName, Scope

log = structlog.get_logger(__name__)

CALLER_HEADER = "X-Galaxy-Caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """The service behind a request, and what it may have done."""

    name: CallerName
    scopes: frozenset[str] = frozenset(Scope.values)


def trust_network(request: Request) -> Caller:
    """Mode ``network``: whoever reaches the port is trusted and says who it is; silence means ``admin``."""
    return Caller(CallerName.GM if request.headers.get(CALLER_HEADER) == CallerName.GM else CallerName.ADMIN)


def require_token(request: Request) -> Caller:
    """Mode ``token``: the bearer token says who calls; the caller header is not looked at."""
    scheme, _separator, bearer = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        message = "a bearer token is required: send Authorization: Bearer rtm_…"
        raise AuthenticationFailed(message)
    try:
        token = tokens.check(bearer.strip(), now=timezone.now())
    except tokens.TokenRefusedError as refused:
        log.info("api_token_refused", token=refused.public_id, reason=str(refused))
        raise AuthenticationFailed(str(refused)) from None
    structlog.contextvars.bind_contextvars(token=token.public_id)
    return Caller(CallerName(token.caller), token.scope_names)


MODES: Mapping[str, Callable[[Request], Caller]] = {"network": trust_network, "token": require_token}


class CallerAuthentication(BaseAuthentication):
    """Find the caller by the way RTMANAGER_API_AUTH names; ``request.user`` is then a Caller."""

    def authenticate(self, request: Request) -> tuple[Caller, None]:
        """The caller; raises AuthenticationFailed for a stranger."""
        return MODES[settings.RTMANAGER.api_auth](request), None

    def authenticate_header(self, request: Request) -> str:
        """The ``WWW-Authenticate`` of a 401."""
        del request
        return "Bearer"


class MayCall(BasePermission):
    """Reading needs the scope ``read``, everything else ``operate``.

    Also the second lock: a view whose authentication was left out by mistake stays shut.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the caller is known and holds the scope of the method."""
        del view
        needed = Scope.READ if request.method in SAFE_METHODS else Scope.OPERATE
        self.message = f"this token lacks the scope {needed.value!r}"
        return isinstance(request.user, Caller) and needed in request.user.scopes


class CallerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself when defined
    """Describes the authentication in the OpenAPI document."""

    target_class = CallerAuthentication
    name = "callerToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """A bearer token."""
        del auto_schema
        description = (
            "Made by `manage.py api_token create` or in the admin; bound to a caller and to scopes (`read` for GET, "
            "`operate` for the rest). Not needed where the installation runs with `RTMANAGER_API_AUTH=network`."
        )
        return {"type": "http", "scheme": "bearer", "description": description}

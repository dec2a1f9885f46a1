"""Who calls the API. Fails closed: a mode that cannot tell callers apart answers nobody."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

CALLER_HEADER = "X-Galaxy-Caller"

CallerName = Literal["gm", "admin"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The service behind a request: Game Master or the Admin service."""

    name: CallerName


def trust_network(request: Request) -> Caller:
    """Mode ``network``: whoever reaches the port is trusted and says who it is; silence means ``admin``."""
    return Caller("gm" if request.headers.get(CALLER_HEADER) == "gm" else "admin")


def require_token(_request: Request) -> Caller:
    """Mode ``token``: no token can be valid while none can be issued, so every caller is refused."""
    message = (
        "a valid bearer token is required; on a network where every caller is trusted, "
        "set RTMANAGER_API_AUTH=network instead"
    )
    raise AuthenticationFailed(message)


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


class IsKnownCaller(BasePermission):
    """Second lock: a view whose authentication was left out by mistake stays shut."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether a caller was found."""
        del view
        return isinstance(request.user, Caller)


class CallerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself when defined
    """Describes the authentication in the OpenAPI document."""

    target_class = CallerAuthentication
    name = "callerToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """A bearer token."""
        del auto_schema
        description = "Required unless the installation runs with RTMANAGER_API_AUTH=network."
        return {"type": "http", "scheme": "bearer", "description": description}

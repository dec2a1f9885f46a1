"""Trusted reverse proxies: the address and the scheme of the client that they report."""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest, HttpResponse

Network = IPv4Network | IPv6Network

_FORWARDED_FOR, _FORWARDED_PROTO = "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO"
_OTHER_HEADERS = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT")


class TrustedProxyMiddleware:
    """The outermost middleware. Takes the client from a trusted proxy; removes these headers of all other clients."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._trusted = parse_networks(settings.RTMANAGER.trusted_proxies)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Set REMOTE_ADDR, and keep X-Forwarded-Proto only from a trusted proxy."""
        meta = request.META
        for name in _OTHER_HEADERS:
            meta.pop(name, None)
        forwarded_for = meta.pop(_FORWARDED_FOR, "")
        if is_trusted(meta["REMOTE_ADDR"], self._trusted):
            meta["REMOTE_ADDR"] = client_address(meta["REMOTE_ADDR"], forwarded_for, self._trusted)
        else:
            meta.pop(_FORWARDED_PROTO, None)
        return self._get_response(request)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Parse ``10.0.0.5, 172.18.0.0/16``. Raises ValueError, which names the bad part."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Return whether the address belongs to one of the networks. Text that is no address does not."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    # A dual-stack socket shows IPv4 clients as ::ffff:10.0.0.5.
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in network for network in trusted)


def client_address(remote: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """Return the last address of X-Forwarded-For that is no trusted proxy; ``remote`` if the header names none.

    Each proxy appends the address that it saw, so entries further left may be invented by the client.
    """
    for address in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
        if not is_trusted(address, trusted):
            return address
        remote = address
    return remote

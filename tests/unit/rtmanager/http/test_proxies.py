"""Which client a request comes from, behind proxies that are trusted and others."""

import pytest
from django.http import HttpRequest, HttpResponse
from hypothesis import given
from hypothesis import strategies as st

from rtmanager.http.proxies import TrustedProxyMiddleware, client_address, is_trusted, parse_networks
from tests.conftest import RtmSettings

_TRUSTED = parse_networks("10.0.0.0/8, 192.0.2.7, fd00::/8")
_ADDRESSES = st.ip_addresses().map(str)


@pytest.mark.parametrize(
    ("remote", "forwarded_for", "client"),
    [
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1, 192.0.2.7", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", " , ,", "10.0.0.1"),
        ("10.0.0.1", "unknown", "unknown"),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_trusted_proxy(remote: str, forwarded_for: str, client: str) -> None:
    assert client_address(remote, forwarded_for, _TRUSTED) == client


@given(invented=st.lists(_ADDRESSES), client=_ADDRESSES.filter(lambda address: not is_trusted(address, _TRUSTED)))
def test_addresses_that_a_client_invents_change_nothing(invented: list[str], client: str) -> None:
    assert client_address("10.0.0.1", ", ".join([*invented, client]), _TRUSTED) == client


@pytest.mark.parametrize(
    ("address", "expected"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("11.0.0.1", False), ("", False), ("localhost", False)],
)
def test_an_address_is_trusted_if_a_network_contains_it(address: str, *, expected: bool) -> None:
    assert is_trusted(address, _TRUSTED) is expected


def through(**meta: str) -> HttpRequest:
    request = HttpRequest()
    request.META.update(meta)
    TrustedProxyMiddleware(lambda _request: HttpResponse())(request)
    return request


def test_a_trusted_proxy_names_client_and_scheme(rtm_settings: RtmSettings) -> None:
    rtm_settings(trusted_proxies="10.0.0.1")

    request = through(REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="198.51.100.1", HTTP_X_FORWARDED_PROTO="https")

    assert (request.META["REMOTE_ADDR"], request.is_secure()) == ("198.51.100.1", True)


def test_other_clients_can_name_neither(rtm_settings: RtmSettings) -> None:
    rtm_settings(trusted_proxies="10.0.0.1")

    request = through(
        REMOTE_ADDR="10.0.0.2",
        HTTP_X_FORWARDED_FOR="198.51.100.1",
        HTTP_X_FORWARDED_PROTO="https",
        HTTP_X_FORWARDED_HOST="evil.example",
        HTTP_FORWARDED="for=198.51.100.1",
    )

    assert (request.META["REMOTE_ADDR"], request.is_secure()) == ("10.0.0.2", False)
    assert not [name for name in request.META if "FORWARDED" in name]

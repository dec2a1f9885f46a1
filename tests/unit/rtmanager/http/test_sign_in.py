"""Under which address a failed sign-in counts, and when the limit is reached. Without a database."""

from datetime import UTC, datetime, timedelta

import pytest
from django.http import HttpRequest
from hypothesis import given
from hypothesis import strategies as st

from rtmanager.http.sign_in import counted_address, reached_at

_NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def from_address(address: str) -> HttpRequest:
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = address
    return request


def minutes_ago(number: int) -> datetime:
    return _NOON - timedelta(minutes=number)


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::1", "::"),
        ("localhost", "0.0.0.0"),  # noqa: S104  # the address of all clients without one
        ("198.51.100.7:4711", "0.0.0.0"),  # noqa: S104
        ("", "0.0.0.0"),  # noqa: S104
        ("\x00'; --", "0.0.0.0"),  # noqa: S104
    ],
)
def test_a_client_counts_under_its_address_or_its_ipv6_network(client: str, counted: str) -> None:
    assert counted_address(from_address(client)) == counted


@given(st.text() | st.ip_addresses().map(str))
def test_whatever_a_proxy_reports_counts_under_an_address_that_stays_the_same(client: str) -> None:
    counted = counted_address(from_address(client))

    assert counted_address(from_address(counted)) == counted


@pytest.mark.parametrize(
    ("failures", "at"),
    [
        ([], None),
        ([(4, minutes_ago(1))], None),
        ([(5, minutes_ago(1))], minutes_ago(1)),
        ([(9, minutes_ago(1)), (9, minutes_ago(7))], minutes_ago(1)),
        ([(2, minutes_ago(1)), (2, minutes_ago(3)), (1, minutes_ago(7)), (1, minutes_ago(9))], minutes_ago(7)),
    ],
)
def test_a_limit_is_reached_by_the_newest_failures(failures: list[tuple[int, datetime]], at: datetime | None) -> None:
    assert reached_at(failures, limit=5) == at

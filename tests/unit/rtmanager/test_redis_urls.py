"""Redis URLs of the settings: what is refused, with which advice, and that no part of a password is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmanager.redis_urls import check_address, parse_redis_url


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("redis://:hu#sh@redis.example", "%23"),
        ("redis://:hu/sh@redis.example", "%2F"),
        ("redis://:hu?sh@redis.example", "%3F"),
        ("redis://:hu?sh=1@redis.example", "%3F"),
        ("redis://u:6379/hush@redis.example", "%2F"),
        ("redis://:hu[sh@redis.example", "percent|%23"),
        ("redis://:hush@redis.example:99999/0", "port from 1 to 65535"),
        ("redis://:hush@redis.example:0/0", "port from 1 to 65535"),
        ("redis://:hush@redis.example:hush/0", "port from 1 to 65535"),
        ("redis://:hush@/0", "needs a host"),
        ("redis://:hush@::1:6379/0", "brackets"),
        ("redis://:hush@redis.example/0?timeout=5", "timeout is not supported"),
        ("redis://:hush@redis.example/0?ssl_ca_certs=/ca.pem", "rediss"),
        ("rediss://:hush@redis.example/0?ssl_ca_certs=/nowhere/ca.pem", "path of a file"),
        ("rediss://:hush@redis.example/0?ssl_cert_reqs=hush", "required, optional or none"),
        ("redis://:hush@redis.example/games", "must be a number"),
        ("redis://:hush@one.example,two.example/0", "Sentinel and Cluster"),
        ("redis+sentinel://:hush@redis.example/0", "DNS name or proxy"),
        ("redis+cluster://:hush@redis.example/0", "DNS name or proxy"),
        ("unix://hush@run/redis.sock", "absolute"),
        ("amqp://:hush@redis.example/0", "only Redis and Valkey"),
    ],
)
def test_a_url_that_cannot_work_is_refused_with_advice_and_without_its_secret(url: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice) as refused:
        parse_redis_url(url)

    assert "hu" not in str(refused.value)


@given(st.text(st.sampled_from("#/?@:[]=&%,x7"), min_size=1, max_size=12))
def test_no_password_in_any_form_is_shown_by_a_refusal(password: str) -> None:
    message = ""
    try:
        parse_redis_url(f"redis://:geheim{password}zwei@redis.example:6379/0")
    except ValueError as error:
        message = str(error)

    assert "geheim" not in message
    assert "zwei" not in message


@pytest.mark.parametrize("address", ["redis.example:6379", "redis.example", "127.0.0.1:1", "[::1]:6379", "[fe80::1]"])
def test_usual_addresses_are_accepted(address: str) -> None:
    check_address(address)

    assert parse_redis_url(f"redis://{address}/2").address == address


@pytest.mark.parametrize("address", ["", ":6379", "::1:6379", "h:", "h:x", "h:70000", "redis://h:6379", "a:1,b:2"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"host|brackets|Sentinel"):
        check_address(address)


@pytest.mark.parametrize(
    ("url", "for_celery"),
    [
        ("unix:///run/r.sock?password=p%40ss", "redis+socket://:p%40ss@/run/r.sock?virtual_host=3"),
        ("unix://u:p%2Fw@/run/r.sock", "redis+socket://u:p%2Fw@/run/r.sock?virtual_host=3"),
        ("redis://h/0?username=u&password=p", "redis://u:p@h/3"),
        ("rediss://h:1/0", "rediss://h:1/3?ssl_cert_reqs=required&ssl_check_hostname=true"),
        ("rediss://h/0?ssl_cert_reqs=none", "rediss://h/3?ssl_cert_reqs=none"),
    ],
)
def test_celery_gets_the_same_server_credentials_and_verification(url: str, for_celery: str) -> None:
    assert parse_redis_url(url).for_celery(database=3) == for_celery

import pytest

from rtmanager import gunicorn


@pytest.mark.parametrize("address", ["127.0.0.1:8096", "[::1]:8096", "rtm.internal:80"])
def test_an_address_with_a_host_is_bound_as_it_is(address: str) -> None:
    assert gunicorn.bind_addresses(address) == [address]


def test_a_bare_port_is_bound_on_every_address_of_the_machine() -> None:
    assert gunicorn.bind_addresses(":8096") in (["[::]:8096"], ["0.0.0.0:8096"])


def test_the_web_process_leaves_nothing_on_the_disk_and_logs_no_request_twice() -> None:
    assert (gunicorn.pidfile, gunicorn.accesslog, gunicorn.control_socket_disable) == (None, None, True)

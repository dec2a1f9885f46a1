import os
import socket
import stat
from pathlib import Path

import pytest

from rtmanager.local import places
from rtmanager.local.addresses import PortClaim, base_url, free_port
from rtmanager.local.errors import LocalError
from rtmanager.local.places import Place, PlaceLock, is_open_to_others, place_of


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(places, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(places, "_SOCKETS_ROOT", tmp_path)
    return Place(kind="run", home=tmp_path / "run", identity="0123abcd")


def test_two_kinds_of_one_clone_never_share_a_place() -> None:
    assert place_of("run").identity != place_of("demo").identity


def test_two_clones_never_share_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    here = place_of("run").identity
    monkeypatch.setattr(places, "CLONE", Path("/elsewhere"))

    assert place_of("run").identity != here


def test_a_socket_fits_into_its_108_bytes_however_deep_the_clone_lies() -> None:
    assert len(str(place_of("demo").sockets / "docker" / "containerd" / "containerd.sock.ttrpc")) < 108


def test_a_secret_is_made_once_and_only_its_owner_reads_it(place: Place) -> None:
    place.prepare()
    first = place.secret("admin")

    assert place.secret("admin") == first
    assert stat.S_IMODE(place.secret_file("admin").stat().st_mode) == 0o600


def test_a_second_stack_in_the_same_place_is_refused_and_told_by_whom(place: Place) -> None:
    first, second = PlaceLock(place), PlaceLock(place)
    first.acquire()

    with pytest.raises(LocalError, match=f"process {os.getpid()}"):
        second.acquire()


def test_a_place_that_nobody_uses_has_no_holder(place: Place) -> None:
    place.prepare()

    assert PlaceLock(place).holder() is None


def test_everything_below_a_closed_directory_is_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").touch(mode=0o644)

    assert not is_open_to_others(closed / "file")


def test_a_port_claimed_by_one_stack_is_not_given_to_another(tmp_path: Path) -> None:
    first = PortClaim(tmp_path / "first")
    (tmp_path / "second").write_text(str(first.port))

    second = PortClaim(tmp_path / "second")

    assert second.port != first.port
    first.release()
    second.release()


def test_a_stack_keeps_its_port_from_run_to_run(tmp_path: Path) -> None:
    first = PortClaim(tmp_path / "port")
    first.release()

    second = PortClaim(tmp_path / "port")

    assert second.port == first.port
    second.release()


def test_a_port_somebody_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert free_port(server.getsockname()[1]) is None


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (":8096", "http://127.0.0.1:8096"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("10.0.0.5:81", "http://10.0.0.5:81"),
    ],
)
def test_the_service_is_called_where_it_listens(address: str, url: str) -> None:
    assert base_url(address) == url

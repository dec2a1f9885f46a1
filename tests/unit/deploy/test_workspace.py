import os
import socket
import stat
from pathlib import Path

import pytest

from deploy.local import workspace
from deploy.local.system.errors import LocalError
from deploy.local.system.ports import PortClaim, base_url, free_port
from deploy.local.workspace import Workspace, WorkspaceLock, is_open_to_others, workspace_of


@pytest.fixture
def clone_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(workspace, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(workspace, "_SOCKETS_ROOT", tmp_path)
    return Workspace(kind="run", home=tmp_path / "run", identity="0123abcd")


def test_two_kinds_in_one_clone_have_different_workspaces() -> None:
    assert workspace_of("run").identity != workspace_of("demo").identity


def test_two_clones_have_different_workspaces(monkeypatch: pytest.MonkeyPatch) -> None:
    here = workspace_of("run").identity
    monkeypatch.setattr(workspace, "CLONE", Path("/elsewhere"))

    assert workspace_of("run").identity != here


def test_a_socket_path_fits_into_108_bytes() -> None:
    assert len(str(workspace_of("demo").sockets / "docker" / "containerd" / "containerd.sock.ttrpc")) < 108


def test_a_secret_is_created_once_and_only_its_owner_can_read_it(clone_workspace: Workspace) -> None:
    clone_workspace.prepare()
    first = clone_workspace.secret("admin")

    assert clone_workspace.secret("admin") == first
    assert stat.S_IMODE(clone_workspace.secret_file("admin").stat().st_mode) == 0o600


def test_a_second_stack_in_a_workspace_is_rejected_with_the_pid_of_the_first(clone_workspace: Workspace) -> None:
    first, second = WorkspaceLock(clone_workspace), WorkspaceLock(clone_workspace)
    first.acquire()

    with pytest.raises(LocalError, match=f"process {os.getpid()}"):
        second.acquire()


def test_an_unused_workspace_has_no_holder(clone_workspace: Workspace) -> None:
    clone_workspace.prepare()

    assert WorkspaceLock(clone_workspace).holder() is None


def test_a_file_below_a_closed_directory_is_not_open_to_others(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").touch(mode=0o644)

    assert not is_open_to_others(closed / "file")


def test_two_stacks_get_different_ports(tmp_path: Path) -> None:
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


def test_a_port_in_use_is_not_free() -> None:
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
def test_the_base_url_has_the_listening_address(address: str, url: str) -> None:
    assert base_url(address) == url

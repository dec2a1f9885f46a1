import ipaddress
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.docker import daemon
from deploy.local.docker.busybox import installed_busybox, is_static, unpacked_busybox
from deploy.local.docker.containerd import Containerd
from deploy.local.docker.daemon import PrivateDocker, private_docker, reachable_host
from deploy.local.docker.network import find_free_subnet
from deploy.local.docker.sample_images import dockerfile
from deploy.local.run import redis_cli
from deploy.local.servers.valkey import configuration
from deploy.local.system.errors import LocalError
from deploy.local.testing import wants_browser
from deploy.local.workspace import Workspace

PLACE = Workspace(kind="demo", home=Path("/clone/.run/demo"), identity="0123abcd")
NOWHERE = "unix:///nowhere/docker.sock"


@pytest.mark.parametrize("name", ["RTMANAGER_DOCKER_HOST", "DOCKER_HOST"])
def test_a_configured_docker_host_that_does_not_respond_is_not_replaced(name: str) -> None:
    with pytest.raises(LocalError, match=f"{name} is {NOWHERE}"):
        reachable_host({name: NOWHERE})


def test_without_a_docker_daemon_no_host_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "DEFAULT_HOST", NOWHERE)

    assert reachable_host({}) is None


def test_the_error_without_docker_names_the_next_step_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(LocalError, match="join the group docker"):
        private_docker(PLACE)


def test_a_private_daemon_does_not_change_the_bridges_and_rules_of_other_daemons() -> None:
    written = json.loads(json.dumps(PrivateDocker(PLACE).configuration()))

    assert written["bridge"] == "rtm-0123abcd"
    assert written["iptables"] is False
    assert "default-address-pools" not in written


def test_the_programs_of_another_release_are_mounted_for_the_daemon_alone() -> None:
    own = PrivateDocker(PLACE).command
    newer = PrivateDocker(PLACE, programs=Path("/other/usr")).command

    assert newer[:4] == ("unshare", "--mount", "--propagation", "slave")
    assert 'mount --bind "$3" /usr' in newer[6]
    assert newer[7:] == (*own[3:], "/other/usr", "/clone/.run/demo/docker/network")
    assert "mount" not in own[2]


def test_a_daemon_with_an_address_pool_shares_it_with_no_other_clone_and_forgets_its_networks() -> None:
    other = replace(PLACE, identity="0123abce")
    newer, beside = (PrivateDocker(place, programs=Path("/other/usr")) for place in (PLACE, other))

    pools = [one.configuration()["default-address-pools"] for one in (newer, beside)]

    assert pools == [[{"base": "10.233.160.0/19", "size": 26}], [{"base": "10.233.192.0/19", "size": 26}]]
    assert newer.command[6].startswith('rm -rf "$1" "$4"')


def test_the_games_bridge_is_removed_only_with_a_private_daemon(tmp_path: Path) -> None:
    workspace = Workspace(kind="run", home=tmp_path, identity="0123abcd")
    workspace.remember_docker_host("", stack="run-0123abcd")
    private = PrivateDocker(workspace).bridges()
    workspace.remember_docker_host("unix:///var/run/docker.sock", stack="run-0123abcd")

    outside = PrivateDocker(workspace).bridges()

    assert private == ["rtm-0123abcd", "rtn-0123abcd"]
    assert outside == ["rtm-0123abcd"]


def test_a_killable_daemon_uses_a_separate_containerd() -> None:
    containerd = Containerd(PLACE)

    written = PrivateDocker(PLACE, containerd).configuration()

    assert written["containerd"] == str(containerd.socket)
    assert written["live-restore"] is True


def test_a_bridge_gets_a_subnet_that_no_route_covers() -> None:
    first = find_free_subnet(0, taken=[])

    second = find_free_subnet(0, taken=[ipaddress.IPv4Network("127.0.0.0/8"), first])

    assert not second.overlaps(first)


def test_without_a_free_subnet_the_search_fails() -> None:
    with pytest.raises(LocalError, match="in use"):
        find_free_subnet(5, taken=[ipaddress.IPv4Network("10.0.0.0/8")])


# The header of a 64-bit program without a dynamic loader.
STATIC = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\2\0\x3e\0\1\0\0\0".ljust(48, b"\0")
DYNAMIC = Path("/bin/sh").read_bytes()


@pytest.mark.parametrize(("content", "static"), [(STATIC, True), (DYNAMIC, False)], ids=["static", "dynamic"])
def test_a_program_with_a_dynamic_loader_is_not_static(tmp_path: Path, content: bytes, static: bool) -> None:  # noqa: FBT001
    program = tmp_path / "program"
    program.write_bytes(content)

    assert is_static(program) is static


def test_a_script_is_not_static(tmp_path: Path) -> None:
    script = tmp_path / "busybox"
    script.write_text("#!/bin/sh\n")

    assert not is_static(script)


@pytest.mark.parametrize("folder", ["bin", "usr/bin"])
def test_the_busybox_of_an_unpacked_package_of_any_debian_release_is_found(tmp_path: Path, folder: str) -> None:
    program = tmp_path / "busybox-static" / folder / "busybox"
    program.parent.mkdir(parents=True)
    program.write_bytes(STATIC)

    assert unpacked_busybox(tmp_path) == program


def test_a_dynamic_busybox_on_the_path_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, content in (("first", DYNAMIC), ("second", STATIC)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "busybox").write_bytes(content)
    folders = [str(tmp_path / name) for name in ("absent", "first", "second")]
    monkeypatch.setenv("PATH", ":".join([*folders, os.environ["PATH"]]))

    assert installed_busybox() == tmp_path / "second" / "busybox"


def test_an_empty_file_is_not_static(tmp_path: Path) -> None:
    empty = tmp_path / "busybox"
    empty.touch()

    assert not is_static(empty)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], True),
        (["-k", "relay"], True),
        (["tests"], True),
        (["tests/unit", "tests/browser/test_console.py::test_one"], True),
        (["tests/unit", "-q"], False),
        (["tests/unit/rtmanager/test_config.py::test_a_stream_needs_a_name", "-x"], False),
    ],
)
def test_a_browser_is_installed_only_for_tests_that_use_one(arguments: list[str], wanted: bool) -> None:  # noqa: FBT001
    assert wants_browser(arguments) is wanted


def test_an_engine_image_is_built_without_running_anything() -> None:
    recipe = dockerfile(
        base="scratch", environment={"PATH": "/bin"}, labels={"note": 'a "quoted" one'}, command=["/bin/engine", "-x"]
    )

    assert "RUN" not in recipe
    assert 'LABEL note="a \\"quoted\\" one"' in recipe
    assert 'CMD ["/bin/engine", "-x"]' in recipe


def test_valkey_persists_jobs_and_never_evicts_them() -> None:
    written = configuration(Path("/run/v.sock"), Path("/data")).splitlines()

    assert {"appendonly yes", "maxmemory-policy noeviction", "port 0"} <= set(written)


@pytest.mark.parametrize(
    ("url", "command"),
    [
        ("unix:///tmp/v.sock?db=0", "redis-cli -s /tmp/v.sock"),
        ("redis://:pw@cache:6379/0", "redis-cli -u redis://:pw@cache:6379/0"),
    ],
)
def test_the_example_command_reaches_the_redis_in_use(url: str, command: str) -> None:
    assert redis_cli(url) == command

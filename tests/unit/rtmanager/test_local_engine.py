import ipaddress
import json
import os
import struct
from pathlib import Path

import pytest

from rtmanager.local import dockerd
from rtmanager.local.bridges import free_subnet
from rtmanager.local.busybox import is_static
from rtmanager.local.containerd import Containerd
from rtmanager.local.dockerd import PrivateEngine, private_engine, reachable_host
from rtmanager.local.errors import LocalError
from rtmanager.local.images import dockerfile
from rtmanager.local.places import Place
from rtmanager.local.run import redis_cli
from rtmanager.local.valkey import configuration

PLACE = Place(kind="demo", home=Path("/clone/.run/demo"), identity="0123abcd")
NOWHERE = "unix:///nowhere/docker.sock"


@pytest.mark.parametrize("name", ["RTMANAGER_DOCKER_HOST", "DOCKER_HOST"])
def test_an_engine_that_was_named_and_does_not_answer_is_not_replaced(name: str) -> None:
    with pytest.raises(LocalError, match=f"{name} is {NOWHERE}"):
        reachable_host({name: NOWHERE})


def test_without_any_engine_none_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dockerd, "DEFAULT_HOST", NOWHERE)

    assert reachable_host({}) is None


def test_a_plain_user_without_an_engine_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(LocalError, match="join the group docker"):
        private_engine(PLACE)


def test_a_private_engine_leaves_other_engines_bridges_and_rules_alone() -> None:
    written = json.loads(json.dumps(PrivateEngine(PLACE).configuration()))

    assert written["bridge"] == "rtm-0123abcd"
    assert written["iptables"] is False
    assert "default-address-pools" not in written


def test_an_engine_that_may_be_killed_stands_on_a_containerd_of_its_own() -> None:
    containerd = Containerd(PLACE)

    written = PrivateEngine(PLACE, containerd).configuration()

    assert written["containerd"] == str(containerd.socket)
    assert written["live-restore"] is True


def test_a_bridge_gets_a_subnet_that_no_route_covers() -> None:
    first = free_subnet(0, taken=[])

    second = free_subnet(0, taken=[ipaddress.IPv4Network("127.0.0.0/8"), first])

    assert not second.overlaps(first)


def test_no_subnet_is_found_where_all_are_taken() -> None:
    with pytest.raises(LocalError, match="in use"):
        free_subnet(5, taken=[ipaddress.IPv4Network("10.0.0.0/8")])


def elf(*segments: int) -> bytes:
    """The head of a 64-bit program with program headers of these types (3 names a loader)."""
    header = b"\x7fELF\x02".ljust(32, b"\0") + struct.pack("<Q14xHH", 64, 56, len(segments))
    return header.ljust(64, b"\0") + b"".join(struct.pack("<I52x", segment) for segment in segments)


@pytest.mark.parametrize(("segments", "static"), [((1, 1), True), ((6, 3, 1), False)])
def test_a_program_that_names_a_loader_is_not_static(tmp_path: Path, segments: tuple[int, ...], static: bool) -> None:  # noqa: FBT001
    program = tmp_path / "program"
    program.write_bytes(elf(*segments))

    assert is_static(program) is static


def test_a_script_is_not_static(tmp_path: Path) -> None:
    script = tmp_path / "busybox"
    script.write_text("#!/bin/sh\n")

    assert not is_static(script)


def test_an_engine_image_is_built_without_running_anything() -> None:
    recipe = dockerfile(
        base="scratch", environment={"PATH": "/bin"}, labels={"note": 'a "quoted" one'}, command=["/bin/engine", "-x"]
    )

    assert "RUN" not in recipe
    assert 'LABEL note="a \\"quoted\\" one"' in recipe
    assert 'CMD ["/bin/engine", "-x"]' in recipe


def test_valkey_forgets_no_job_for_want_of_memory_or_disk() -> None:
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

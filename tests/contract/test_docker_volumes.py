"""Images that declare volumes, on the real engine: nothing is kept in a volume, and no engine can plant a link."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtimes.container_spec import ContainerSpec
from runtimes.containers.docker.payloads import create_request
from runtimes.storage.image_volumes import plan_volumes
from runtimes.storage.state_dirs import ensure_volume_dirs
from tests.contract.container_backends import Lab
from tests.servers.sandbox import Playground

MOUNT = "/var/lib/galaxy-game"


def voluminous(lab: Lab) -> ContainerSpec:
    """The specification of a container of an image with volumes; their directories exist."""
    image = lab.containers.find_image(lab.image_refs["voluminous"])
    assert image is not None
    spec = lab.spec("voluminous")
    volumes = plan_volumes(image.volumes, mount_path=MOUNT)
    ensure_volume_dirs(
        spec.state_path,
        [one.subdirectory for one in volumes],
        mode=0o750,
        owner_uid=os.geteuid(),
        owner_gid=os.getegid(),
    )
    return replace(spec, volumes=volumes)


@pytest.fixture
def spec(real_lab: Lab) -> ContainerSpec:
    return voluminous(real_lab)


@pytest.fixture
def running(real_lab: Lab, playground: Playground, spec: ContainerSpec) -> Any:
    container_id = real_lab.containers.create(spec)
    real_lab.containers.start(container_id)
    return playground.client.containers.get(container_id)


def run_in(container: Any, command: str) -> int:
    return int(container.exec_run(["busybox", "sh", "-c", command]).exit_code)


def test_the_daemon_makes_no_volume_for_it(running: Any, spec: ContainerSpec) -> None:
    mounts = {one["Destination"]: (one["Type"], one["Source"], one["RW"]) for one in running.attrs["Mounts"]}

    assert {kind for kind, _source, _writable in mounts.values()} == {"bind"}
    assert mounts == {
        MOUNT: ("bind", spec.state_path, True),
        **{one.target: ("bind", f"{spec.state_path}/{one.subdirectory}", not one.read_only) for one in spec.volumes},
    }


@pytest.mark.parametrize(
    ("place", "directory"),
    [
        ("/data", ".volumes/data"),
        ("/data/sub", ".volumes/data%2Fsub"),
        ("/tmp", ".volumes/tmp"),  # noqa: S108 - a path inside the container
        ("/var/lib", ".volumes/var%2Flib"),
        ("/y", ".volumes/y"),
        ("/no/such/place", ".volumes/no%2Fsuch%2Fplace"),
        (f"{MOUNT}/saves/auto", "saves/auto"),
        (MOUNT, ""),
    ],
)
def test_what_the_engine_program_writes_there_is_in_the_state_directory(
    running: Any, spec: ContainerSpec, place: str, directory: str
) -> None:
    assert run_in(running, f"echo saved > {place}/turn-1") == 0

    assert (Path(spec.state_path) / directory / "turn-1").read_text() == "saved\n"


@pytest.mark.parametrize(
    "command",
    [
        "mv .volumes elsewhere", "mv .volumes/data .volumes/x", "rmdir .volumes/y", "ln -s / .volumes/x",
        "mv saves elsewhere", "mv saves/auto saves/x", "rmdir saves/auto", "umount .volumes", "umount saves",
    ],
)  # fmt: skip
def test_the_engine_program_cannot_replace_the_directory_of_a_volume(
    running: Any, spec: ContainerSpec, command: str
) -> None:
    applet, _space, rest = command.partition(" ")

    assert run_in(running, f"cd {MOUNT} && busybox {applet} {rest}") != 0
    assert all((Path(spec.state_path) / one.subdirectory).is_dir() for one in spec.volumes)
    assert not any((Path(spec.state_path) / one.subdirectory).is_symlink() for one in spec.volumes)


def test_a_removal_deletes_anonymous_volumes_but_never_a_named_one(real_lab: Lab, playground: Playground) -> None:
    name = f"{playground.stack}-named"
    spec = real_lab.spec("voluminous")
    request = create_request(spec)
    request["HostConfig"]["Mounts"].append({"Type": "volume", "Source": name, "Target": "/data"})
    api = playground.client.api
    container_id = api.create_container_from_config(request, spec.name)["Id"]  # type: ignore[no-untyped-call]
    mounts = api.inspect_container(container_id)["Mounts"]
    volumes = {one["Name"] for one in mounts if one["Type"] == "volume"}

    real_lab.containers.remove(container_id, grace_seconds=1)

    left = {one["Name"] for one in api.volumes()["Volumes"] or []} & volumes
    try:
        assert len(volumes) > 1
        assert left == {name}
    finally:
        api.remove_volume(name)

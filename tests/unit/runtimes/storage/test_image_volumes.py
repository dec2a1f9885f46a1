"""The declared volumes of images as directories of the state: every path has one place, and no place two paths."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.exceptions import StartConfigInvalidError
from runtimes.storage.image_volumes import VOLUMES_DIRECTORY, VolumeMount, declared_outside, plan_volumes

MOUNT = "/var/lib/galaxy-game"
COVER = VolumeMount(".volumes", f"{MOUNT}/.volumes", read_only=True)

_names = st.text("abcAB%.-_ ~:,é", min_size=1, max_size=12).filter(lambda name: name not in {".", ".."})
_outside = st.lists(_names, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
_inside = st.lists(_names, min_size=1, max_size=3).map(lambda names: MOUNT + "/" + "/".join(names))
_paths = st.lists(_outside | _inside, max_size=8)


def planned(*declared: str) -> tuple[VolumeMount, ...]:
    return plan_volumes(declared, mount_path=MOUNT)


@pytest.mark.parametrize(
    ("declared", "mounts"),
    [
        ([], ()),
        ([MOUNT], ()),
        ([f"{MOUNT}/"], ()),
        (["/data"], (COVER, VolumeMount(".volumes/data", "/data"))),
        (["/data/", "//data", "/x/../data"], (COVER, VolumeMount(".volumes/data", "/data"))),
        (["/tmp"], (COVER, VolumeMount(".volumes/tmp", "/tmp"))),  # noqa: S108 - a path inside the container
        (["/var/lib"], (COVER, VolumeMount(".volumes/var%2Flib", "/var/lib"))),
        (
            ["/a", "/a/b"],
            (COVER, VolumeMount(".volumes/a", "/a"), VolumeMount(".volumes/a%2Fb", "/a/b")),
        ),
        ([f"{MOUNT}/saves"], (VolumeMount("saves", f"{MOUNT}/saves"),)),
        (
            [f"{MOUNT}/saves/auto"],
            (VolumeMount("saves", f"{MOUNT}/saves"), VolumeMount("saves/auto", f"{MOUNT}/saves/auto")),
        ),
    ],
)
def test_each_declared_path_has_its_directory(declared: list[str], mounts: tuple[VolumeMount, ...]) -> None:
    assert planned(*declared) == mounts


@pytest.mark.parametrize(
    "path",
    [
        "data", "", "/", "//", "/..", "/data/..", "/proc", "/proc/x", "/sys", "/sys/fs", "/dev", "/da\x00ta", "/da\nta",
        f"/{'x' * 256}", f"/{'é' * 100}", "/" + "/".join(["abc"] * 400), f"{MOUNT}/{'x' * 256}",
        f"{MOUNT}/.volumes", f"{MOUNT}/.volumes/data", "/\ud800",
    ],
)  # fmt: skip
def test_a_path_that_cannot_be_mounted_is_refused_with_its_name(path: str) -> None:
    with pytest.raises(StartConfigInvalidError, match="declares a volume"):
        planned("/data", path)


def test_too_many_volumes_are_refused() -> None:
    with pytest.raises(StartConfigInvalidError, match="33 volumes"):
        planned(*(f"/v{number}" for number in range(33)))


@given(_paths)
def test_no_two_paths_share_a_directory_and_each_directory_names_its_path(paths: list[str]) -> None:
    try:
        mounts = planned(*paths)
    except StartConfigInvalidError:
        return

    assert len({one.target for one in mounts}) == len({one.subdirectory for one in mounts}) == len(mounts)
    for one in mounts:
        parts = one.subdirectory.split("/")
        assert not {"", ".", ".."} & set(parts)
        if parts[0] != VOLUMES_DIRECTORY:
            assert one.target == f"{MOUNT}/{one.subdirectory}"
        elif len(parts) > 1:
            assert f"/{unquote(parts[1])}" == one.target


@given(_paths)
def test_whatever_an_engine_could_rename_on_the_way_to_a_source_is_mounted_on(paths: list[str]) -> None:
    try:
        mounts = {one.subdirectory: one for one in planned(*paths)}
    except StartConfigInvalidError:
        return

    for subdirectory in mounts:
        parts = subdirectory.split("/")
        ancestors = ["/".join(parts[:length]) for length in range(1, len(parts))]
        assert all(mounts[one].target == f"{MOUNT}/{one}" for one in ancestors)
        assert parts[0] != VOLUMES_DIRECTORY or mounts[VOLUMES_DIRECTORY].read_only


@given(_paths)
def test_every_declared_path_is_covered_by_a_mount(paths: list[str]) -> None:
    try:
        targets = {one.target for one in planned(*paths)}
    except StartConfigInvalidError:
        return

    assert targets | {MOUNT} >= set(paths)


def test_only_the_state_mount_itself_needs_no_volume() -> None:
    declared = ["/data/", MOUNT, f"{MOUNT}/", f"{MOUNT}/saves"]

    assert declared_outside(declared, mount_path=MOUNT) == ["/data/", f"{MOUNT}/saves"]

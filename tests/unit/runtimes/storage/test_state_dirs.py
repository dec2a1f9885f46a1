"""The state directory of a game: made, repaired, kept, and never outside its root."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from runtimes.exceptions import StartConfigInvalidError
from runtimes.storage.state_dirs import ensure_state_dir
from runtimes.storage.state_root import make_root

UID, GID = os.geteuid(), os.getegid()
needs_root = pytest.mark.skipif(UID != 0, reason="only root may give a directory away")


class AnyRoot:
    """Lets every root pass, and makes a missing one."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def make_if_first(self) -> None:
        make_root(str(self._root))

    def check(self, root_fd: int) -> None:
        """Every root is right."""
        os.fstat(root_fd)


class NoRoot(AnyRoot):
    """Lets no root pass."""

    def make_if_first(self) -> None:
        raise StartConfigInvalidError(str(self._root))

    def check(self, root_fd: int) -> None:
        message = f"{self._root} ({root_fd})"
        raise StartConfigInvalidError(message)


def allow_new() -> None:
    """A directory may always be made."""


def ensure(path: Path, *, mode: int = 0o750, owner_uid: int = UID, owner_gid: int = GID) -> None:
    ensure_below(path.parent, str(path), mode=mode, owner_uid=owner_uid, owner_gid=owner_gid)


def ensure_below(root: Path, path: str, *, mode: int = 0o750, owner_uid: int = UID, owner_gid: int = GID) -> bool:
    return ensure_state_dir(
        path,
        root=str(root),
        guard=AnyRoot(root),
        refuse_new=allow_new,
        mode=mode,
        owner_uid=owner_uid,
        owner_gid=owner_gid,
    )


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o777)
    yield
    os.umask(before)


@pytest.fixture
def not_root() -> Iterator[None]:
    if UID == 0:
        os.seteuid(65534)
    yield
    os.seteuid(UID)


def test_a_missing_directory_is_made_with_a_missing_root(tmp_path: Path) -> None:
    ensure(tmp_path / "deep" / "root" / "g1")

    assert (tmp_path / "deep" / "root" / "g1").is_dir()


@pytest.mark.parametrize("mode", [0o750, 0o777, 0o2770])
@pytest.mark.usefixtures("strict_umask")
def test_the_mode_is_exact_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    ensure(tmp_path / "g1", mode=mode)

    assert (tmp_path / "g1").stat().st_mode & 0o7777 == mode


@needs_root
def test_the_owner_is_exact(tmp_path: Path) -> None:
    ensure(tmp_path / "g1", mode=0o2770, owner_uid=12345, owner_gid=23456)

    found = (tmp_path / "g1").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (12345, 23456, 0o2770)


def test_an_existing_directory_keeps_its_content_and_gets_its_mode_back(tmp_path: Path) -> None:
    ensure(tmp_path / "g1")
    (tmp_path / "g1" / "turn-1").write_text("saved")
    (tmp_path / "g1").chmod(0o700)

    ensure(tmp_path / "g1")

    assert (tmp_path / "g1" / "turn-1").read_text() == "saved"
    assert (tmp_path / "g1").stat().st_mode & 0o7777 == 0o750


def test_a_second_call_changes_nothing(tmp_path: Path) -> None:
    ensure(tmp_path / "g1")
    before = (tmp_path / "g1").stat()

    ensure(tmp_path / "g1")

    assert (tmp_path / "g1").stat() == before


def test_a_symbolic_link_is_refused_and_its_target_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    (tmp_path / "games").mkdir()
    (tmp_path / "games" / "g1").symlink_to(target)

    with pytest.raises(StartConfigInvalidError, match="symbolic link"):
        ensure(tmp_path / "games" / "g1", mode=0o777)

    assert target.stat().st_mode & 0o7777 == 0o700


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "g1").write_text("a file")

    with pytest.raises(StartConfigInvalidError, match="not a directory"):
        ensure(tmp_path / "g1")

    assert (tmp_path / "g1").read_text() == "a file"


@pytest.mark.parametrize("path", ["{root}/..", "{root}/a/b", "{root}/../outside", "{root}", "/elsewhere/g1", "g1"])
def test_a_path_that_is_not_directly_below_the_root_is_refused(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"

    with pytest.raises(StartConfigInvalidError, match="RTMANAGER_GAME_STATE_ROOT"):
        ensure_below(root, path.format(root=root))

    assert list(tmp_path.iterdir()) == []


def test_a_root_with_a_trailing_slash_is_the_same_root(tmp_path: Path) -> None:
    ensure_state_dir(
        f"{tmp_path}/g1",
        root=f"{tmp_path}/",
        guard=AnyRoot(tmp_path),
        refuse_new=allow_new,
        mode=0o750,
        owner_uid=UID,
        owner_gid=GID,
    )

    assert (tmp_path / "g1").is_dir()


def test_a_root_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("a file")

    with pytest.raises(StartConfigInvalidError, match="RTMANAGER_GAME_STATE_ROOT"):
        ensure(tmp_path / "root" / "g1")


def test_a_file_system_that_takes_no_directories_is_explained() -> None:
    with pytest.raises(StartConfigInvalidError, match="cannot be created"):
        ensure(Path("/proc/rtm-game"))


@pytest.mark.usefixtures("not_root")
def test_a_directory_that_the_service_cannot_write_to_is_explained() -> None:
    with TemporaryDirectory() as root, pytest.raises(StartConfigInvalidError, match="is not writable"):
        ensure(Path(root) / "g1", mode=0o550, owner_uid=os.geteuid())


@pytest.mark.usefixtures("not_root")
def test_an_owner_that_cannot_be_given_is_explained() -> None:
    with TemporaryDirectory() as root, pytest.raises(StartConfigInvalidError, match="cannot be given owner 0:0"):
        ensure(Path(root) / "g1", owner_uid=0, owner_gid=0)


@pytest.mark.parametrize("there", [True, False])
def test_a_root_that_the_guard_refuses_stays_as_it_is(tmp_path: Path, *, there: bool) -> None:
    root = tmp_path / "root"
    if there:
        root.mkdir()

    with pytest.raises(StartConfigInvalidError, match=str(root)):
        ensure_state_dir(
            f"{root}/g1",
            root=str(root),
            guard=NoRoot(root),
            refuse_new=allow_new,
            mode=0o750,
            owner_uid=UID,
            owner_gid=GID,
        )

    assert [list(one.iterdir()) for one in tmp_path.iterdir()] == ([[]] if there else [])


def test_the_result_says_whether_the_directory_is_new_and_only_a_new_one_can_be_refused(tmp_path: Path) -> None:
    def refuse() -> None:
        message = "not one more"
        raise StartConfigInvalidError(message)

    made, kept = (ensure_below(tmp_path, f"{tmp_path}/g1") for _ in range(2))
    options = {"guard": AnyRoot(tmp_path), "refuse_new": refuse, "mode": 0o750, "owner_uid": UID, "owner_gid": GID}
    again = ensure_state_dir(f"{tmp_path}/g1", root=str(tmp_path), **options)  # type: ignore[arg-type]  # a mixed bag

    assert (made, kept, again) == (True, False, False)
    with pytest.raises(StartConfigInvalidError, match="not one more"):
        ensure_state_dir(f"{tmp_path}/g2", root=str(tmp_path), **options)  # type: ignore[arg-type]  # a mixed bag
    assert [one.name for one in tmp_path.iterdir()] == ["g1"]

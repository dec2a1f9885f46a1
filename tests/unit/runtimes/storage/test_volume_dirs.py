"""The directories of volumes on the host: no link that an engine has planted is ever followed."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes.exceptions import StartConfigInvalidError
from runtimes.storage.state_dirs import ensure_volume_dirs


def ensure(state: Path, *subdirectories: str, mode: int = 0o750) -> None:
    ensure_volume_dirs(
        str(state), subdirectories, mode=mode, owner_uid=os.geteuid(), owner_gid=os.getegid()
    )  # fmt: skip


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "g1").mkdir()
    return tmp_path / "g1"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_they_are_made_with_the_mode_of_the_state_whatever_the_umask(state: Path) -> None:
    before = os.umask(0o077)
    try:
        ensure(state, ".volumes", ".volumes/data", "saves", "saves/auto", mode=0o775)
    finally:
        os.umask(before)

    made = [".volumes", ".volumes/data", "saves", "saves/auto"]
    assert [mode_of(state / one) for one in made] == [0o775] * 4


def test_what_is_there_keeps_its_content_and_only_volumes_get_their_mode_again(state: Path) -> None:
    ensure(state, ".volumes/data", "saves")
    (state / ".volumes/data/turn-1").write_text("saved")
    (state / ".volumes/data").chmod(0o700)
    (state / "saves").chmod(0o700)

    ensure(state, ".volumes/data", "saves")

    assert (state / ".volumes/data/turn-1").read_text() == "saved"
    assert (mode_of(state / ".volumes/data"), mode_of(state / "saves")) == (0o750, 0o700)


@pytest.mark.parametrize("where", [".volumes", ".volumes/data", "saves", "saves/auto"])
@pytest.mark.parametrize("target", ["/", "elsewhere", "nowhere"])
def test_a_planted_link_is_refused_and_nothing_is_made_behind_it(
    state: Path, tmp_path: Path, where: str, target: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o711)
    place = state / where
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(target if target == "/" else tmp_path / target)

    with pytest.raises(StartConfigInvalidError, match="symbolic link") as caught:
        ensure(state, ".volumes", ".volumes/data", "saves", "saves/auto")

    assert str(place) in caught.value.message
    assert (list(elsewhere.iterdir()), mode_of(elsewhere)) == ([], 0o711)


def test_the_state_directory_itself_may_be_no_link(state: Path, tmp_path: Path) -> None:
    (tmp_path / "g2").symlink_to(state)

    with pytest.raises(StartConfigInvalidError, match="symbolic link"):
        ensure(tmp_path / "g2", ".volumes/data")


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo])
def test_what_is_no_directory_is_refused(state: Path, make: Callable[[Path], None]) -> None:
    make(state / ".volumes")

    with pytest.raises(StartConfigInvalidError, match="is not a directory"):
        ensure(state, ".volumes/data")


def test_a_state_directory_that_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StartConfigInvalidError, match="cannot be opened"):
        ensure(tmp_path / "gone", ".volumes/data")

    assert not (tmp_path / "gone").exists()

"""The marker file of the state root: written whole, by one process, and never read through a link."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.exceptions import StartConfigInvalidError
from runtimes.storage.state_root import (
    MARKER_NAME,
    StateRootMissingError,
    add_marker,
    has_directory,
    new_id,
    opened_root,
    read_marker,
    replace_marker,
)


def marker_of(root: Path) -> str:
    with opened_root(str(root)) as root_fd:
        return read_marker(root_fd, root=str(root))


def add(root: Path, marker_id: str) -> str:
    with opened_root(str(root)) as root_fd:
        return add_marker(root_fd, marker_id, root=str(root))


def test_a_root_without_a_marker_has_no_id(tmp_path: Path) -> None:
    assert marker_of(tmp_path) == ""


def test_the_first_marker_stays(tmp_path: Path) -> None:
    first, second = new_id(), new_id()

    assert (add(tmp_path, first), add(tmp_path, second), marker_of(tmp_path)) == (first, first, first)
    assert [one.name for one in tmp_path.iterdir()] == [MARKER_NAME]
    assert (tmp_path / MARKER_NAME).stat().st_mode & 0o7777 == 0o644


def test_of_many_processes_at_the_same_moment_all_get_the_same_id(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: add(tmp_path, new_id()), range(32)))

    assert found == {marker_of(tmp_path)}
    assert [one.name for one in tmp_path.iterdir()] == [MARKER_NAME]


def test_an_accepted_marker_takes_the_place_of_any_other(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("untouched")
    root = tmp_path / "root"
    root.mkdir()
    (root / MARKER_NAME).symlink_to(elsewhere)
    wanted = new_id()

    with opened_root(str(root)) as root_fd:
        replace_marker(root_fd, wanted, root=str(root))

    assert (marker_of(root), elsewhere.read_text()) == (wanted, "untouched")


def test_a_marker_that_is_a_link_is_refused_and_not_followed(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.write_text(new_id())
    root = tmp_path / "root"
    root.mkdir()
    (root / MARKER_NAME).symlink_to(real)

    with pytest.raises(StartConfigInvalidError, match="symbolic link"):
        marker_of(root)


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_anything_but_a_regular_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    make = os.mkdir if kind == "directory" else os.mkfifo
    make(tmp_path / MARKER_NAME)

    with pytest.raises(StartConfigInvalidError, match="not a regular file"):
        marker_of(tmp_path)


@given(st.binary(max_size=64))
def test_a_marker_is_an_id_or_refused(content: bytes) -> None:
    first_line = content.partition(b"\n")[0].strip()

    with TemporaryDirectory() as root:
        (Path(root) / MARKER_NAME).write_bytes(content)
        if re.fullmatch(rb"[0-9a-f]{32}", first_line):
            assert marker_of(Path(root)).encode() == first_line
        else:
            with pytest.raises(StartConfigInvalidError, match="accept_state_root"):
                marker_of(Path(root))


@given(st.text("0123456789abcdef", min_size=32, max_size=32))
def test_what_is_written_is_read_again(marker_id: str) -> None:
    with TemporaryDirectory() as root:
        with opened_root(root) as root_fd:
            replace_marker(root_fd, marker_id, root=root)

        assert marker_of(Path(root)) == marker_id


def test_a_missing_root_has_another_error_than_an_unusable_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StateRootMissingError), opened_root(str(tmp_path / "missing")):
        pass
    with pytest.raises(StartConfigInvalidError, match="cannot be used") as refused, opened_root(str(tmp_path / "file")):
        pass
    assert not isinstance(refused.value, StateRootMissingError)


def test_only_a_directory_itself_counts_as_the_directory_of_a_game(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()

    with opened_root(str(tmp_path)) as root_fd:
        found = [has_directory(root_fd, name) for name in ("real", "link", "file", "missing")]

    assert found == [True, False, False, False]

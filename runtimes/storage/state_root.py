"""The state root and its marker file.

The marker proves that the directory holds the states of these games, and is not an empty mount point or the root of
another installation. It holds a random id, which the database stores too (``Installation.state_root_id``). Symbolic
links are never followed. All functions use an opened root, so that the checked directory is the used one.
"""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtimes.exceptions import StartConfigInvalidError

MARKER_NAME = ".rtmanager-state-root"
_ID = re.compile(r"[0-9a-f]{32}")
_LONGEST_MARKER = 4096
_EXPLANATION = (
    "# Runtime Manager: this directory holds the states of the games. The id above is on record in its database.\n"
    "# Without this file no game is started, because the disk may not be mounted. Copy it along with the states.\n"
)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class StateRootMissingError(StartConfigInvalidError):
    """The state root does not exist."""


def open_root(root: str) -> int:
    """The state root as a file descriptor. Raises StateRootMissingError, or StartConfigInvalidError with what to do."""
    try:
        # The root itself may be a symbolic link, if the operator made it one.
        return os.open(root, _DIRECTORY)
    except FileNotFoundError:
        raise StateRootMissingError(f"RTMANAGER_GAME_STATE_ROOT ({root}) does not exist") from None
    except OSError as error:
        raise unusable_root(root, error) from error


@contextmanager
def opened_root(root: str) -> Iterator[int]:
    """Like ``open_root``; closes the descriptor after the block."""
    root_fd = open_root(root)
    try:
        yield root_fd
    finally:
        os.close(root_fd)


def make_root(root: str) -> None:
    """Create the state root and its parents. Idempotent. Raises StartConfigInvalidError."""
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unusable_root(root, error) from error


def unusable_root(root: str, error: OSError) -> StartConfigInvalidError:
    """The error for an OSError on the state root."""
    return StartConfigInvalidError(
        f"RTMANAGER_GAME_STATE_ROOT ({root}) cannot be used: {error.strerror}; make it a directory that this "
        f"service (uid {os.geteuid()}) may write to"
    )


def read_marker(root_fd: int, *, root: str) -> str:
    """The id in the marker file; empty without such a file.

    Raises StartConfigInvalidError if it is not a regular file, or cannot be read.
    """
    path = f"{root.rstrip('/')}/{MARKER_NAME}"
    try:
        # Non-blocking: a FIFO with this name must not block a start.
        marker_fd = os.open(MARKER_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=root_fd)
        try:
            is_file = stat.S_ISREG(os.fstat(marker_fd).st_mode)
            text = os.read(marker_fd, _LONGEST_MARKER).decode("ascii", "replace") if is_file else ""
        finally:
            os.close(marker_fd)
    except FileNotFoundError:
        return ""
    except OSError as error:
        reason = "it is a symbolic link, which RTM never follows" if error.errno == errno.ELOOP else str(error.strerror)
        raise _unreadable(path, reason) from error
    if not is_file:
        raise _unreadable(path, "it is not a regular file")
    first_line = text.partition("\n")[0].strip()
    if not _ID.fullmatch(first_line):
        raise _unreadable(path, "its first line is not an id of 32 hexadecimal digits")
    return first_line


def add_marker(root_fd: int, marker_id: str, *, root: str) -> str:
    """Create a marker file with this id unless one exists; returns the id that the root has then.

    Atomic: if several processes do this at once, one adds its file, and all return that id.
    """
    with _written(root_fd, marker_id, root=root) as temporary, suppress(FileExistsError):
        # link() instead of rename(): it never replaces the file of another process.
        os.link(temporary, MARKER_NAME, src_dir_fd=root_fd, dst_dir_fd=root_fd, follow_symlinks=False)
    return read_marker(root_fd, root=root)


def replace_marker(root_fd: int, marker_id: str, *, root: str) -> None:
    """Write a marker file with this id, and replace an existing one. Atomic."""
    with _written(root_fd, marker_id, root=root) as temporary:
        os.rename(temporary, MARKER_NAME, src_dir_fd=root_fd, dst_dir_fd=root_fd)


def new_id() -> str:
    """A random id for a marker file."""
    return secrets.token_hex(16)


def has_directory(root_fd: int, name: str) -> bool:
    """Whether the root has a directory with this name. A link to a directory does not count."""
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=root_fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


@contextmanager
def _written(root_fd: int, marker_id: str, *, root: str) -> Iterator[str]:
    """Yield the temporary name of a complete marker file; removes that name afterwards."""
    temporary = f"{MARKER_NAME}.{secrets.token_hex(8)}"
    try:
        marker_fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=root_fd)
        try:
            os.write(marker_fd, f"{marker_id}\n{_EXPLANATION}".encode())
            os.fchmod(marker_fd, 0o644)
            os.fsync(marker_fd)
        finally:
            os.close(marker_fd)
        yield temporary
        os.fsync(root_fd)
    except OSError as error:
        raise unusable_root(root, error) from error
    finally:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=root_fd)


def _unreadable(path: str, reason: str) -> StartConfigInvalidError:
    return StartConfigInvalidError(
        f"the marker file {path} cannot be used: {reason}; check that the right disk is mounted, then restore the file "
        "with: manage.py accept_state_root"
    )

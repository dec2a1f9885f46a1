"""Where one local stack keeps its things, and the names by which two stacks never meet.

``make run``, ``make demo`` and ``make test`` each have a place of their own, so they work side by side in one clone
as well as in two.
"""

import fcntl
import hashlib
import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rtmanager.local.errors import LocalError

CLONE = Path(__file__).resolve().parents[2]
RUN_ROOT = CLONE / ".run"
CACHE = RUN_ROOT / "cache"
KINDS = ("run", "demo", "test", "chaos", "chaos-test", "bench", "bench-test")
# A socket's path must fit into 108 bytes; a clone may lie arbitrarily deep.
_SOCKETS_ROOT = Path("/tmp")  # noqa: S108 (the directory below it is checked to be ours alone)
_OUTSIDE_ROOT = Path("/var/lib")


@dataclass(frozen=True, slots=True)
class Place:
    """The directories of one stack. Nothing exists until ``prepare()``."""

    kind: str
    home: Path
    identity: str

    @property
    def logs(self) -> Path:
        """One file per process, bounded."""
        return self.home / "logs"

    @property
    def games(self) -> Path:
        """The state directories of the games."""
        return self.home / "games"

    @property
    def sockets(self) -> Path:
        """Short, ours, and entered (not read) by the unprivileged user of PostgreSQL."""
        return _SOCKETS_ROOT / f"rtm-{self.identity}"

    @property
    def outside(self) -> Path:
        """Where another user can reach files when the clone lies in a closed directory such as /root."""
        return _OUTSIDE_ROOT / f"rtm-{self.identity}"

    def log(self, name: str) -> Path:
        """The log of one process or command."""
        return self.logs / f"{name}.log"

    def prepare(self) -> None:
        """Make the directories. Raises LocalError when another user's are in the way."""
        try:
            for directory in (self.home, self.logs, self.games, CACHE):
                directory.mkdir(parents=True, exist_ok=True)
        except PermissionError as error:
            message = f"{error.filename} cannot be written; was it made by another user? That user can: make clean"
            raise LocalError(message) from None
        self.sockets.mkdir(mode=0o711, exist_ok=True)
        if self.sockets.is_symlink() or self.sockets.stat().st_uid != os.geteuid():
            message = f"{self.sockets} belongs to somebody else; remove it or move the clone"
            raise LocalError(message)
        self.sockets.chmod(0o711)

    def secret(self, name: str) -> str:
        """A random password, made once and kept readable for its owner alone."""
        file = self.secret_file(name)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        if not file.exists():
            write_private(file, secrets.token_urlsafe(24))
        return file.read_text()

    def secret_file(self, name: str) -> Path:
        """Where ``secret`` keeps it."""
        return self.home / "secrets" / name

    def remember_engine(self, host: str, *, stack: str) -> None:
        """Note the outside engine (empty: none) and the stack label, for whoever clears up later."""
        (self.home / "engine").write_text(f"{host}\n{stack}\n")

    def remembered_engine(self) -> tuple[str, str]:
        """What ``remember_engine`` noted last: host and stack, both empty when there is no outside engine."""
        note = self.home / "engine"
        host, stack = note.read_text().splitlines() if note.exists() else ("", "")
        return (host, stack) if host else ("", "")

    def remove(self) -> None:
        """Delete everything. The stack must be down. Idempotent."""
        for directory in (self.sockets, self.outside, self.home):
            shutil.rmtree(directory, ignore_errors=not directory.exists())


def place_of(kind: str) -> Place:
    """The place of one of ``KINDS`` in this clone, for this user."""
    digest = hashlib.sha256(f"{CLONE}\0{kind}\0{os.geteuid()}".encode()).hexdigest()
    return Place(kind=kind, home=RUN_ROOT / kind, identity=digest[:8])


def write_private(file: Path, text: str) -> None:
    """Write a file that never, not even for a moment, could be read by others."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)


def is_open_to_others(path: Path) -> bool:
    """Whether a user with no rights of ours can reach and read ``path``."""
    readable = path.stat().st_mode & stat.S_IROTH
    return bool(readable) and all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


class PlaceLock:
    """Held by the one process that may use a place; freed by the kernel however that process ends."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._file = place.home / "lock"
        self._held: IO[str] | None = None

    def acquire(self) -> None:
        """Prepare the place and keep it. Raises LocalError when another process uses it."""
        self._place.prepare()
        handle = self._file.open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = (
                f"`make {self._place.kind}` runs already in this clone (process {self.holder()}); end it: make stop"
            )
            raise LocalError(message) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        self._held = handle
        # Only now: until a moment ago they might have been another's.
        for log in self._place.logs.iterdir():
            log.unlink()

    def holder(self) -> int | None:
        """The process that uses the place now, or None."""
        if not self._file.exists():
            return None
        with self._file.open() as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(handle.read() or 0) or None
        return None

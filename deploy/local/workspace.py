"""The directories of one local stack, and its unique names.

``make run``, ``make demo`` and ``make test`` have separate workspaces, so they run in parallel, in one clone or in two.
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

from deploy.local.system.errors import LocalError

CLONE = Path(__file__).resolve().parents[2]
RUN_ROOT = CLONE / ".run"
CACHE = RUN_ROOT / "cache"
KINDS = ("run", "demo", "test", "test-newer", "chaos", "chaos-test", "bench", "bench-ready")
# The path of a socket has at most 108 bytes, but the path of a clone may be long.
_SOCKETS_ROOT = Path("/tmp")  # noqa: S108 (the owner of the directory below it is checked)
_OUTSIDE_ROOT = Path("/var/lib")


@dataclass(frozen=True, slots=True)
class Workspace:
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
        """The directory of the sockets: a short path; PostgreSQL's unprivileged user can traverse but not read it."""
        return _SOCKETS_ROOT / f"rtm-{self.identity}"

    @property
    def outside(self) -> Path:
        """The directory for files that another user must read, if the clone is in a closed directory such as /root."""
        return _OUTSIDE_ROOT / f"rtm-{self.identity}"

    def log(self, name: str) -> Path:
        """The log of one process or command."""
        return self.logs / f"{name}.log"

    def prepare(self) -> None:
        """Create the directories. Raises LocalError if they belong to another user."""
        try:
            for directory in (self.home, self.logs, self.games, CACHE):
                directory.mkdir(parents=True, exist_ok=True)
        except PermissionError as error:
            message = f"{error.filename} is not writable; if another user created it, that user can run: make clean"
            raise LocalError(message) from None
        self.sockets.mkdir(mode=0o711, exist_ok=True)
        if self.sockets.is_symlink() or self.sockets.stat().st_uid != os.geteuid():
            message = f"{self.sockets} belongs to another user; remove it or move the clone"
            raise LocalError(message)
        self.sockets.chmod(0o711)

    def remove_sockets(self) -> None:
        """Delete the directory of the sockets. The stack must be stopped. Idempotent."""
        shutil.rmtree(self.sockets, ignore_errors=not self.sockets.exists())

    def secret(self, name: str) -> str:
        """Return a random password, created once; only its owner can read the file."""
        file = self.secret_file(name)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        if not file.exists():
            write_private(file, secrets.token_urlsafe(24))
        return file.read_text()

    def secret_file(self, name: str) -> Path:
        """The file of ``secret``."""
        return self.home / "secrets" / name

    def remember_docker_host(self, host: str, *, stack: str) -> None:
        """Store the machine's Docker daemon (empty: none) and the stack label, for a later clean-up."""
        (self.home / "engine").write_text(f"{host}\n{stack}\n")

    def remembered_docker_host(self) -> tuple[str, str]:
        """Return host and stack of ``remember_docker_host``; both are empty if the daemon is private."""
        note = self.home / "engine"
        host, stack = note.read_text().splitlines() if note.exists() else ("", "")
        return (host, stack) if host else ("", "")

    def remove(self) -> None:
        """Delete everything. The stack must be stopped. Idempotent."""
        self.remove_sockets()
        for directory in (self.outside, self.home):
            shutil.rmtree(directory, ignore_errors=not directory.exists())


def workspace_of(kind: str) -> Workspace:
    """Return the workspace of one of ``KINDS`` in this clone, for this user."""
    digest = hashlib.sha256(f"{CLONE}\0{kind}\0{os.geteuid()}".encode()).hexdigest()
    return Workspace(kind=kind, home=RUN_ROOT / kind, identity=digest[:8])


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, from its creation on."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)


def is_open_to_others(path: Path) -> bool:
    """Whether every user can reach and read ``path``."""
    readable = path.stat().st_mode & stat.S_IROTH
    return bool(readable) and all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


class WorkspaceLock:
    """Lock of a workspace: one process holds it; the kernel frees it when the process exits."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._file = workspace.home / "lock"
        self._held: IO[str] | None = None

    def acquire(self) -> None:
        """Prepare the workspace and lock it. Raises LocalError if another process uses it."""
        self._workspace.prepare()
        handle = self._file.open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            kind = self._workspace.kind
            message = f"`make {kind}` runs already in this clone (process {self.holder()}); stop it: make stop"
            raise LocalError(message) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        self._held = handle
        # After the lock: before it, the logs may belong to another process.
        for log in self._workspace.logs.iterdir():
            log.unlink()

    def holder(self) -> int | None:
        """Return the pid of the process that uses the workspace, or None."""
        if not self._file.exists():
            return None
        with self._file.open() as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(handle.read() or 0) or None
        return None

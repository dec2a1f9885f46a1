"""The address the web process listens on: the one asked for, else one that nobody else uses."""

import socket
from pathlib import Path

from rtmanager.local.errors import LocalError

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8096
_ATTEMPTS = 20


class PortClaim:
    """A loopback port chosen for as long as this object is held.

    Two stacks starting at the same moment would both find the same port free: the claim is a name in Linux's
    abstract socket namespace, which the kernel gives to one process only and takes back when that one ends.
    """

    def __init__(self, remembered: Path) -> None:
        self._remembered = remembered
        self._claim: socket.socket | None = None
        self.port = self._choose()
        remembered.write_text(str(self.port))

    @property
    def address(self) -> str:
        """As the setting wants it."""
        return f"{LOOPBACK}:{self.port}"

    def release(self) -> None:
        """Idempotent."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def _choose(self) -> int:
        """The one of the last time, the usual one, else any: the address stays the same from run to run."""
        last = self._remembered.read_text() if self._remembered.exists() else ""
        preferred = [int(last)] if last.isdigit() else []
        for wanted in (*preferred, DEFAULT_PORT, *[0] * _ATTEMPTS):
            port = free_port(wanted)
            if port and self._take(port):
                return port
        message = "no free port was found on the loopback interface"
        raise LocalError(message)

    def _take(self, port: int) -> bool:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f"\0rtmanager-http-{port}")
        except OSError:
            claim.close()
            return False
        self._claim = claim
        return True


def free_port(wanted: int) -> int | None:
    """``wanted`` if it can be listened on now (0: any port), else None."""
    with socket.socket() as probe:
        # As the web server does it: a port whose last connections still linger counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, wanted))
            probe.listen()
        except OSError:
            return None
        return int(probe.getsockname()[1])


def base_url(address: str) -> str:
    """Where to call a service that listens on ``address`` (``:8096`` means every interface)."""
    host, _, port = address.rpartition(":")
    return f"http://{LOOPBACK if host in ('', '0.0.0.0') else host}:{port}"  # noqa: S104 (compared, not bound)

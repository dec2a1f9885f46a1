"""Chooses a free loopback port for the web process."""

import socket
from pathlib import Path

from deploy.local.system.errors import LocalError

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8096
_ATTEMPTS = 20


class PortClaim:
    """Reserves a loopback port for one stack until ``release``.

    Two stacks that start at once would find the same port free. So the stack binds a name in Linux's abstract socket
    namespace: the kernel assigns a name to one process only, and frees it when the process exits.
    """

    def __init__(self, remembered: Path) -> None:
        self._remembered = remembered
        self._claim: socket.socket | None = None
        self.port = self._choose()
        remembered.write_text(str(self.port))

    @property
    def address(self) -> str:
        """The value of the setting INTERNAL_HTTP_ADDR."""
        return f"{LOOPBACK}:{self.port}"

    def release(self) -> None:
        """Free the port for other stacks. Idempotent."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def _choose(self) -> int:
        """Return the port of the last run, else the default port, else any free port."""
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
    """Return ``wanted`` if the port is free now (0: any port), else None."""
    with socket.socket() as probe:
        # Same option as the web server: a port with connections in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, wanted))
            probe.listen()
        except OSError:
            return None
        return int(probe.getsockname()[1])


def base_url(address: str) -> str:
    """Return the URL of a service that listens on ``address`` (``:8096`` means every interface)."""
    host, _, port = address.rpartition(":")
    return f"http://{LOOPBACK if host in ('', '0.0.0.0') else host}:{port}"  # noqa: S104 (compared, not bound)

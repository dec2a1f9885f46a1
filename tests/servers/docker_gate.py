"""A socket in front of the Docker daemon that a test shuts and opens: away is away, for connections in use as well."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class DockerGate:
    """Passes bytes between its own socket and the daemon's while it is open."""

    def __init__(self, path: Path, daemon: Path) -> None:
        self.host = f"unix://{path}"
        self._path = path
        self._daemon = daemon
        self._pairs: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None

    def open(self) -> None:
        """Take connections from now on."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()

    def shut(self) -> None:
        """Cut every connection and take none."""
        self._path.unlink(missing_ok=True)
        with self._lock:
            doomed, self._pairs = self._pairs, set()
        for one in [*doomed, *([self._listener] if self._listener else [])]:
            _hang_up(one)
        self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _address = listener.accept()
                daemon = socket.socket(socket.AF_UNIX)
                daemon.connect(str(self._daemon))
                with self._lock:
                    self._pairs |= {client, daemon}
                for source, target in ((client, daemon), (daemon, client)):
                    threading.Thread(target=_pass_on, args=[source, target], daemon=True).start()


@contextmanager
def opened_gate(path: Path, daemon: Path) -> Iterator[DockerGate]:
    """A gate that is open at first and shut at the end."""
    gate = DockerGate(path, daemon)
    gate.open()
    try:
        yield gate
    finally:
        gate.shut()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)


def _hang_up(one: socket.socket) -> None:
    # Closing alone would not wake the thread that reads from it.
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()

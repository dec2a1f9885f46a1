"""A socket in front of Docker that passes everything on and records the request lines that reached Docker."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_REQUEST_LINE = re.compile(rb"(?:\A|(?<=\r\n\r\n)|(?<=\}))([A-Z]+ \S+) HTTP/1\.[01]\r\n")


class DockerRecorder:
    """The recording. Each connection has its own bytes."""

    def __init__(self, path: Path) -> None:
        self.host = f"unix://{path}"
        self._sent: list[bytearray] = []
        self._open: list[bytearray] = []

    def requests(self) -> list[str]:
        """Method and target of every request so far."""
        return [line.decode() for sent in list(self._sent) for line in _REQUEST_LINE.findall(bytes(sent))]

    def open_streams(self) -> list[str]:
        """The last request of each open connection that asked for an endless response."""
        last = [_REQUEST_LINE.findall(bytes(sent))[-1:] for sent in list(self._open)]
        return [line.decode() for lines in last for line in lines if b"/events" in line or b"follow=1" in line]

    def record(self, source: socket.socket, target: socket.socket) -> None:
        """Pass on what the client sends, until it ends."""
        sent = bytearray()
        self._sent.append(sent)
        self._open.append(sent)
        _pass_on(source, target, sent)
        self._open = [one for one in self._open if one is not sent]


@contextmanager
def docker_recorder(path: Path, docker_host: str) -> Iterator[DockerRecorder]:
    recorder = DockerRecorder(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(64)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _address = listener.accept()
                daemon = socket.socket(socket.AF_UNIX)
                daemon.connect(docker_host.removeprefix("unix://"))
                threading.Thread(target=recorder.record, args=[client, daemon], daemon=True).start()
                threading.Thread(target=_pass_on, args=[daemon, client, None], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield recorder
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _pass_on(source: socket.socket, target: socket.socket, record: bytearray | None) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            if record is not None:
                record += part
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)

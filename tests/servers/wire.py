"""A TCP proxy between a client and a server, which tests damage or point to another server."""

import contextlib
import socket
import threading


class Wire:
    """Stands between clients and the server: can be cut, can swallow answers, can swallow everything.

    New connections go to ``upstream``; those that exist stay where they are.
    """

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.swallows_answers = False
        self.swallows_requests = False
        self._ends: list[socket.socket] = []
        self.port = 0
        self.repair()

    def repair(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        for end in (self._listener, *self._ends):
            _close(end)
        self._ends.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self.upstream)
                self._ends += [client, server]
                threading.Thread(target=self._carry, args=(client, server), daemon=True).start()
                threading.Thread(
                    target=self._carry, args=(server, client), kwargs={"is_answer": True}, daemon=True
                ).start()

    def _carry(self, source: socket.socket, sink: socket.socket, *, is_answer: bool = False) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                if is_answer and self.swallows_answers:
                    break
                if is_answer or not self.swallows_requests:
                    sink.sendall(chunk)
        _close(source)
        _close(sink)


def _close(end: socket.socket) -> None:
    # Closing alone does not wake the thread that reads from it.
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()

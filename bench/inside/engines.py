"""Ten thousand engines in one process, and the Docker that lists them, with as little work as possible.

Docker's own list would need real containers.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

from bench.inside.asked import answer

_END_OF_HEAD = b"\r\n\r\n"


def response(body: bytes, kind: str = "text/plain") -> bytes:
    """The bytes of a whole response. Pure."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


_HEALTHY = response(b"ok")


class Engines:
    """Serves in a thread; ``probes`` counts the responses."""

    def __init__(self) -> None:
        self.probes = 0
        self._loop = asyncio.new_event_loop()
        self._docker: dict[str, bytes] = {}

    def serve(self, *, addresses: Sequence[str], socket: str, containers: Sequence[Any]) -> int:
        """Listen on all addresses, and as Docker on the socket; return the port, which is the same on all addresses."""
        version = response(json.dumps({"ApiVersion": "1.41", "MinAPIVersion": "1.12"}).encode(), "application/json")
        listed = response(json.dumps(containers).encode(), "application/json")
        self._docker = {"/version": version, "/containers/json": listed}
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        return asyncio.run_coroutine_threadsafe(self._listen(addresses, socket), self._loop).result()

    def count(self) -> int:
        """The number of probes so far."""
        return self.probes

    async def _listen(self, addresses: Sequence[str], socket: str) -> int:
        await self._loop.create_unix_server(lambda: _Connection(self._ask_docker), socket)
        first = await self._loop.create_server(lambda: _Connection(self._ask_engine), addresses[0], 0, backlog=1024)
        port = int(first.sockets[0].getsockname()[1])
        await self._loop.create_server(lambda: _Connection(self._ask_engine), addresses[1:], port, backlog=1024)
        return port

    def _ask_engine(self, _path: str) -> bytes:
        self.probes += 1
        return _HEALTHY

    def _ask_docker(self, path: str) -> bytes:
        return next(said for ending, said in self._docker.items() if path.partition("?")[0].endswith(ending))


class _Connection(asyncio.Protocol):
    """Requests without a body, one after the other; the client closes the connection."""

    def __init__(self, ask: Callable[[str], bytes]) -> None:
        self._ask = ask
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "a stream"  # noqa: S101
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while _END_OF_HEAD in self._read:
            head, _end, self._read = self._read.partition(_END_OF_HEAD)
            self._transport.write(self._ask(head.split(b" ", 2)[1].decode()))


if __name__ == "__main__":
    engines = Engines()
    answer({"serve": engines.serve, "count": engines.count})

"""Log what Game Lobby has on record of a game that is being started, for diagnosis only.

A background thread queries Lobby. No response, late response or invalid response decides or delays anything.
"""

import http.client
import json
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from urllib.parse import urlsplit

import structlog
from django.conf import settings

log = structlog.get_logger(__name__)

PATH = "/api/v1/internal/games/{game_id}"
_QUEUE_SIZE = 100
_LONGEST_BODY_BYTES = 64 * 1024
_LONGEST_STATUS = 64
_LONGEST_REASON = 200


def query_lobby(game_id: str, *, operation_id: int) -> None:
    """Queue a query about the game if RTMANAGER_LOBBY_INTERNAL_BASE_URL is set. Returns at once, never raises."""
    config = settings.RTMANAGER
    if config.lobby_internal_base_url:
        client = _client(config.lobby_internal_base_url, config.lobby_internal_timeout.total_seconds())
        client.enqueue(game_id, operation_id=operation_id)


class LobbyClient:
    """One background thread, started with the first query, that sends one query at a time.

    A query is dropped if the queue is full. ``timeout_seconds`` limits the whole exchange, however slowly bytes arrive.
    """

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self._url = url.rstrip("/") + PATH
        self._timeout_seconds = timeout_seconds
        self._queries: queue.Queue[tuple[str, int]] = queue.Queue(_QUEUE_SIZE)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def enqueue(self, game_id: str, *, operation_id: int) -> None:
        """Queue a query about the game; the log entry of the response names the operation. Never raises."""
        try:
            self._queries.put_nowait((game_id, operation_id))
            self._ensure_thread()
        except (queue.Full, RuntimeError) as error:
            log.info("lobby_query_dropped", game_id=game_id, reason=type(error).__name__)

    def wait_until_idle(self) -> None:
        """Return when every query queued so far has a response or has failed."""
        self._queries.join()

    def _ensure_thread(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._serve, name="lobby", daemon=True)
                thread.start()
                self._thread = thread

    def _serve(self) -> None:
        while True:
            game_id, operation_id = self._queries.get()
            logger = log.bind(game_id=game_id, operation_id=operation_id)
            try:
                status_code, body = _get(self._url.format(game_id=game_id), timeout_seconds=self._timeout_seconds)
                logger.info("lobby_responded", status_code=status_code, **_game_status(body))
            except (OSError, http.client.HTTPException, ValueError, RuntimeError) as error:
                logger.info("lobby_not_reached", reason=f"{type(error).__name__}: {error}"[:_LONGEST_REASON])
            finally:
                self._queries.task_done()


@lru_cache(maxsize=1)
def _client(url: str, timeout_seconds: float) -> LobbyClient:
    return LobbyClient(url, timeout_seconds=timeout_seconds)


def _get(url: str, *, timeout_seconds: float) -> tuple[int, bytes]:
    """Status and body of the response; the body is at most one byte longer than the limit."""
    address = urlsplit(url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    with closing(kind(address.hostname or "", address.port, timeout=timeout_seconds)) as connection:
        connection.connect()
        with _total_timeout(connection.sock, seconds=timeout_seconds):
            connection.request("GET", address.path, headers={"Accept": "application/json"})
            # http.client follows no redirect: a redirect is logged like any other response.
            response = connection.getresponse()
            return response.status, response.read(_LONGEST_BODY_BYTES + 1)


@contextmanager
def _total_timeout(sock: socket.socket, *, seconds: float) -> Iterator[None]:
    """Limit the whole exchange: the timeout of a socket begins again with every byte that arrives."""
    is_over = threading.Event()

    def shut_down() -> None:
        is_over.set()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if is_over.is_set():
            message = f"no complete response within {seconds:g} s"
            raise TimeoutError(message)


def _game_status(body: bytes) -> dict[str, str]:
    if len(body) > _LONGEST_BODY_BYTES:
        return {"game_status": "", "parse_error": f"the body has more than {_LONGEST_BODY_BYTES} bytes"}
    try:
        status = json.loads(body)["status"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return {"game_status": "", "parse_error": "the body is no JSON object with a status"}
    return {"game_status": str(status)[:_LONGEST_STATUS]}

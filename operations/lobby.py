"""What Game Lobby has on record of a game that is being started, in the log next to the start. For diagnosis only:
the question is asked in the background, and no answer, late answer or odd answer decides or delays anything.
"""

import http.client
import json
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import structlog
from django.conf import settings

log = structlog.get_logger(__name__)

PATH = "/api/v1/lobby/internal/games/{game_id}"
_QUESTIONS_WAITING = 100
_LONGEST_BODY_BYTES = 64 * 1024
_LONGEST_STATUS = 64
_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Question:
    """The start of a game, as the answer in the log will name it."""

    game_id: str
    operation_id: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, the body cut one byte after what is still read."""

    status_code: int
    body: bytes


def ask_lobby(game_id: str, *, operation_id: int) -> None:
    """Have Lobby asked about the game if RTMANAGER_LOBBY_URL says where. Returns at once and never raises."""
    config = settings.RTMANAGER
    if config.lobby_url:
        line = _line(config.lobby_url, config.lobby_timeout.total_seconds())
        line.ask(Question(game_id, operation_id))


class LobbyLine:
    """One background thread, made at the first question, that asks one at a time. Questions beyond the queue are lost.

    ``timeout_seconds`` bounds the whole exchange, however slowly the bytes come.
    """

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._questions: queue.Queue[Question] = queue.Queue(_QUESTIONS_WAITING)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def ask(self, question: Question) -> None:
        """Queue a question. Returns at once and never raises."""
        try:
            self._questions.put_nowait(question)
            self._ensure_thread()
        except (queue.Full, RuntimeError) as error:
            log.info("lobby_not_asked", game_id=question.game_id, reason=type(error).__name__)

    def wait_until_idle(self) -> None:
        """Return when every question queued so far has been answered, or given up."""
        self._questions.join()

    def _ensure_thread(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="lobby", daemon=True)
                thread.start()
                self._thread = thread

    def _serve(self) -> None:
        while True:
            question = self._questions.get()
            try:
                self._answer(question)
            finally:
                self._questions.task_done()

    def _answer(self, question: Question) -> None:
        told = log.bind(game_id=question.game_id, operation_id=question.operation_id)
        url = self._url.rstrip("/") + PATH.format(game_id=question.game_id)
        try:
            answer = _get(url, timeout_seconds=self._timeout_seconds)
        except Exception as error:  # noqa: BLE001 - whatever it was, it must not end the questions to come
            told.info("lobby_not_reached", reason=f"{type(error).__name__}: {error}"[:_LONGEST_REASON])
        else:
            told.info("lobby_answered", status_code=answer.status_code, **_game_status(answer.body))


@lru_cache(maxsize=1)
def _line(url: str, timeout_seconds: float) -> LobbyLine:
    return LobbyLine(url, timeout_seconds=timeout_seconds)


def _get(url: str, *, timeout_seconds: float) -> Answer:
    address = urlsplit(url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    with closing(kind(address.hostname or "", address.port, timeout=timeout_seconds)) as connection:
        connection.connect()
        with _cut_off(connection.sock, seconds=timeout_seconds):
            connection.request("GET", address.path, headers={"Accept": "application/json"})
            # http.client follows no redirect: one is an answer like any other.
            response = connection.getresponse()
            return Answer(response.status, response.read(_LONGEST_BODY_BYTES + 1))


@contextmanager
def _cut_off(sock: socket.socket, *, seconds: float) -> Iterator[None]:
    """End the exchange when its time is over: a socket's own time-out begins anew with every byte that comes."""
    is_over = threading.Event()

    def hang_up() -> None:
        is_over.set()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if is_over.is_set():
            message = f"no whole answer within {seconds:g} s"
            raise TimeoutError(message)


def _game_status(body: bytes) -> dict[str, str]:
    if len(body) > _LONGEST_BODY_BYTES:
        return {"game_status": "", "oddity": f"the body has more than {_LONGEST_BODY_BYTES} bytes"}
    try:
        status = json.loads(body)["status"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return {"game_status": "", "oddity": "the body is no JSON object with a status"}
    return {"game_status": str(status)[:_LONGEST_STATUS]}

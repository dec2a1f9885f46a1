"""Can the service do its work? Each dependency is looked at on its own, all at once, none for long."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, ProgrammingError, connection

from operations.replies import replies
from runtimes.containers import connect, disconnect
from runtimes.exceptions import ErrorCode, RuntimeManagerError, ServiceUnavailableError, StartConfigInvalidError
from runtimes.models import Runtime

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 3.0

DOCKER_CHECKS = frozenset({"docker", "network"})


def check_database() -> None:
    """Raise ServiceUnavailableError unless PostgreSQL answers and holds our tables."""
    try:
        Runtime.objects.exists()
    except ProgrammingError:
        message = "the tables are missing; create them with: manage.py migrate"
        raise ServiceUnavailableError(message) from None
    except (DatabaseError, InterfaceError) as error:
        message = f"PostgreSQL does not answer ({_first_line(error)}); see RTMANAGER_DATABASE_URL"
        raise ServiceUnavailableError(message) from None


def check_redis() -> None:
    """Raise ServiceUnavailableError unless Redis answers."""
    replies().ping()


def check_docker() -> None:
    """Raise ContainersUnavailableError unless the engine answers."""
    try:
        connect().ping()
    finally:
        disconnect()


def check_network() -> None:
    """Raise StartConfigInvalidError when the engine says that the game network does not exist."""
    network = settings.RTMANAGER.docker_network
    try:
        exists = connect().network_exists(network)
    finally:
        disconnect()
    if not exists:
        message = f'Docker network "{network}" does not exist; create it with: docker network create {network}'
        raise StartConfigInvalidError(message)


T = TypeVar("T")


class SharedLook(Generic[T]):
    """One question to the world, at most one at a time however often and by however many it is asked.

    It runs in a daemon thread of its own: one that hangs delays neither the others nor the end of the process.
    """

    def __init__(self, name: str, look: Callable[[], T]) -> None:
        self.name = name
        self._look = look
        self._lock = threading.Lock()
        self._current: Future[T] | None = None

    def begin(self) -> Future[T]:
        """The answer to come; shared with a look already under way."""
        with self._lock:
            if self._current is None or self._current.done():
                self._current = Future()
                threading.Thread(target=self._run, args=[self._current], name=f"look-{self.name}", daemon=True).start()
            return self._current

    def _run(self, answer: Future[T]) -> None:
        try:
            told = self._look_and_disconnect()
        except Exception as error:  # noqa: BLE001 - whoever asked decides what it means
            answer.set_exception(error)
        else:
            answer.set_result(told)

    def _look_and_disconnect(self) -> T:
        try:
            return self._look()
        finally:
            # Django's connection belongs to this thread, which is about to end.
            connection.close()


class Check(SharedLook[str]):
    """One dependency's check; its answer is why the dependency is not usable, empty when it is."""

    def __init__(self, name: str, look: Callable[[], None]) -> None:
        super().__init__(name, partial(_reason, name, look))


def _reason(name: str, look: Callable[[], None]) -> str:
    try:
        look()
    except RuntimeManagerError as error:
        return error.message or str(error.code)
    except Exception:
        # Whatever it is, an answer must come, and the other checks' verdicts still count.
        log.exception("readiness_check_failed_unexpectedly", check=name)
        return "the check itself failed; the log tells why"
    return ""


class Readiness:
    """All checks together."""

    def __init__(self, looks: Mapping[str, Callable[[], None]], *, timeout_seconds: float) -> None:
        self._checks = [Check(name, look) for name, look in looks.items()]
        self._timeout_seconds = timeout_seconds

    def reasons(self) -> dict[str, str]:
        """Per dependency why it cannot be used, empty when it can. Takes ``timeout_seconds`` at most in all."""
        deadline = time.monotonic() + self._timeout_seconds
        verdicts = {check.name: check.begin() for check in self._checks}
        return {name: self._await(verdict, deadline) for name, verdict in verdicts.items()}

    def _await(self, verdict: Future[str], deadline: float) -> str:
        try:
            return verdict.result(timeout=max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return f"no answer within {self._timeout_seconds:g} s"


def code_of(reasons: Mapping[str, str]) -> ErrorCode:
    """The contract's code for what is missing: Docker alone, or more than that."""
    failed = {name for name, reason in reasons.items() if reason}
    return ErrorCode.DOCKER_UNAVAILABLE if failed <= DOCKER_CHECKS else ErrorCode.SERVICE_UNAVAILABLE


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


readiness = Readiness(
    {"database": check_database, "redis": check_redis, "docker": check_docker, "network": check_network},
    timeout_seconds=TIMEOUT_SECONDS,
)

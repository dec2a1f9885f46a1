"""Asking engines over HTTP how they are, a thousand at a time, without ever waiting for one of them."""

import asyncio
import errno
import os
import queue
import resource
import threading
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from django.utils import timezone

from runtimes.health import ProbeAnswer, answered, unanswered

_MOST_AT_ONCE = 1000
_CLOSE_SECONDS = 5.0
# What goes wrong on this side says nothing about the engine.
_OUR_OWN_ERRORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


@dataclass(frozen=True, slots=True)
class Target:
    """One engine to ask. ``reported_failures`` is what its snapshot says, above zero while it counts as failing."""

    game_id: str
    container_id: str
    url: str
    host: str
    reported_failures: int


class HttpProbes:
    """Probes under way. Belongs to one thread, which launches and collects; the asking is done in another.

    A 2xx is success, redirects are not followed, and of a body nothing is read.
    """

    def __init__(self) -> None:
        soft_limit, _hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.limit = min(_MOST_AT_ONCE, soft_limit // 2) if soft_limit > 0 else _MOST_AT_ONCE
        self._under_way: set[str] = set()
        self._answers: queue.SimpleQueue[tuple[Target, ProbeAnswer | None]] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread: threading.Thread | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def free(self) -> int:
        """How many more may be launched now."""
        return self.limit - len(self._under_way)

    def launch(self, targets: Sequence[Target], *, timeout_seconds: float) -> None:
        """Begin to ask. An engine that is being asked already is left out."""
        new = [target for target in targets if target.container_id not in self._under_way]
        self._under_way |= {target.container_id for target in new}
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop.run_forever, name="probes", daemon=True)
            self._thread.start()
        self._loop.call_soon_threadsafe(self._begin, new, timeout_seconds)

    def collect(self, seconds: float) -> list[tuple[Target, ProbeAnswer]]:
        """Take the answers that come within this time. An answer that tells nothing about the engine, because
        something failed on this side, is left out.
        """
        answers: list[tuple[Target, ProbeAnswer]] = []
        deadline = time.monotonic() + seconds
        with suppress(queue.Empty):
            while True:
                target, answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
                self._under_way.discard(target.container_id)
                if answer is not None:
                    answers.append((target, answer))
        return answers

    def close(self) -> None:
        """Break off what is under way. Idempotent; nothing can be launched afterwards."""
        if self._thread is not None and self._thread.is_alive():
            self._wait_for(self._shut_down())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_CLOSE_SECONDS)
        if not self._loop.is_running():
            self._loop.close()

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_CLOSE_SECONDS)

    def _begin(self, targets: Sequence[Target], timeout_seconds: float) -> None:
        for target in targets:
            task = self._loop.create_task(self._probe(target, timeout_seconds))
            # The loop itself holds tasks only weakly.
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _probe(self, target: Target, timeout_seconds: float) -> None:
        answer: ProbeAnswer | None = None
        try:
            answer = await self._ask(target, timeout_seconds)
        finally:
            self._answers.put((target, answer))

    async def _ask(self, target: Target, timeout_seconds: float) -> ProbeAnswer | None:
        limit = aiohttp.ClientTimeout(total=max(timeout_seconds, 0.001))
        request = self._open_session().get(
            target.url, headers={"Host": target.host}, allow_redirects=False, timeout=limit
        )
        try:
            async with request as response:
                # Closed, not drained: an engine may send without end.
                response.close()
                return answered(response.status, at=timezone.now())
        except TimeoutError:
            return unanswered(f"no answer within {timeout_seconds:g} s", at=timezone.now())
        except OSError as error:
            if error.errno in _OUR_OWN_ERRORS:
                return None
            return unanswered(os.strerror(error.errno) if error.errno else str(error), at=timezone.now())
        except (aiohttp.ClientError, ValueError) as error:
            return unanswered(f"{type(error).__name__}: {error}", at=timezone.now())

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Ten thousand engines would mean as many idle sockets.
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=4096,
                headers={"User-Agent": "rtmanager-prober"},
            )
        return self._session

    async def _shut_down(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

"""Probes engines over HTTP, up to a thousand at once, without blocking the caller."""

import asyncio
import errno
import os
import queue
import resource
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
from django.utils import timezone

from runtimes.health import ProbeResult, probe_failure, probe_response

_MAX_CONCURRENT = 1000
_CLOSE_SECONDS = 5.0
# Errors of this machine say nothing about the engine.
_LOCAL_ERRORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


@dataclass(frozen=True, slots=True)
class Target:
    """One engine to probe. ``reported_failures`` is from its snapshot; it is positive while the engine is failing."""

    game_id: str
    container_id: str
    url: str
    host: str
    reported_failures: int


class HttpProbes:
    """The running probes. Belongs to one thread, which submits and collects; another thread does the requests.

    A 2xx response is a success. Redirects are not followed, and the body is not read.
    """

    def __init__(self) -> None:
        soft_limit, _hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.limit = min(_MAX_CONCURRENT, soft_limit // 2) if soft_limit > 0 else _MAX_CONCURRENT
        self._running: set[str] = set()
        self._results: queue.SimpleQueue[tuple[Target, ProbeResult | None]] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread: threading.Thread | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def capacity(self) -> int:
        """How many more probes can be submitted now."""
        return self.limit - len(self._running)

    def submit(self, targets: Sequence[Target], *, timeout_seconds: float) -> None:
        """Start probes; skip an engine whose probe still runs."""
        new = [target for target in targets if target.container_id not in self._running]
        self._running |= {target.container_id for target in new}
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop.run_forever, name="probes", daemon=True)
            self._thread.start()
        self._loop.call_soon_threadsafe(self._start, new, timeout_seconds)

    def collect(self, seconds: float) -> list[tuple[Target, ProbeResult]]:
        """Return the results that arrive within this time, without probes that failed because of this machine."""
        results: list[tuple[Target, ProbeResult]] = []
        deadline = time.monotonic() + seconds
        with suppress(queue.Empty):
            while True:
                target, result = self._results.get(timeout=max(0.0, deadline - time.monotonic()))
                self._running.discard(target.container_id)
                if result is not None:
                    results.append((target, result))
        return results

    def close(self) -> None:
        """Cancel running probes. Idempotent; afterwards no probe can be submitted."""
        if self._thread is not None and self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result(_CLOSE_SECONDS)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_CLOSE_SECONDS)
        if not self._loop.is_running():
            self._loop.close()

    def _start(self, targets: Sequence[Target], timeout_seconds: float) -> None:
        for target in targets:
            task = self._loop.create_task(self._probe(target, timeout_seconds))
            # The event loop holds only weak references to tasks.
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _probe(self, target: Target, timeout_seconds: float) -> None:
        result: ProbeResult | None = None
        try:
            result = await self._request(target, timeout_seconds)
        finally:
            self._results.put((target, result))

    async def _request(self, target: Target, timeout_seconds: float) -> ProbeResult | None:
        limit = aiohttp.ClientTimeout(total=max(timeout_seconds, 0.001))
        request = self._open_session().get(
            target.url, headers={"Host": target.host}, allow_redirects=False, timeout=limit
        )
        try:
            async with request as response:
                # Close instead of reading to the end: an engine may send without end.
                response.close()
                return probe_response(response.status, at=timezone.now())
        except TimeoutError:
            return probe_failure(f"no answer within {timeout_seconds:g} s", at=timezone.now())
        except OSError as error:
            if error.errno in _LOCAL_ERRORS:
                return None
            return probe_failure(os.strerror(error.errno) if error.errno else str(error), at=timezone.now())
        except (aiohttp.ClientError, ValueError) as error:
            return probe_failure(f"{type(error).__name__}: {error}", at=timezone.now())

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Kept connections to ten thousand engines would need as many sockets.
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

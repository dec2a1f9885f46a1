"""Kill one process of a running stack, and measure until another one has its work."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

import psycopg2

from deploy.local.docker.sample_images import SAMPLE_TAGS
from deploy.local.stack import Stack
from tests.chaos.storm.lobby import Lobby, connect
from tests.chaos.storm.script import Job

T = TypeVar("T")

_POLL_SECONDS = 0.005
_LONGEST_SECONDS = 90.0
_JOB_SECONDS, _LEAST_JOBS = 0.05, 100
_LEADERS = """
    SELECT split_part(substr(application_name, 11), '@', 1), substring(application_name FROM ':([0-9]+)$')::int
      FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND starts_with(application_name, 'rtmanager-')"""
# Of a leader and of each standby.
_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE starts_with(application_name, 'rtmanager-' || %s || '@')"
_WORKERS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND mode = 'ShareLock'"
_CLAIM = """
    SELECT fence, substring(claimed_by FROM ':([0-9]+)$')::int FROM operations_operation
     WHERE game_id = %s AND state = 'running'"""


@dataclass(slots=True)
class Kills:
    """Kills on one stack. Each method returns seconds."""

    stack: Stack
    chance: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - when to kill
    _games: Any = field(default_factory=count)
    _lobby: Lobby = field(init=False)
    _database: Any = field(init=False)

    def __post_init__(self) -> None:
        self._lobby = Lobby(self.stack.config, connect(self.stack.config), lambda: False)
        self._database = psycopg2.connect(self.stack.config.database_url)
        self._database.autocommit = True

    def of_worker(self, *, workers: int) -> float:
        """Kill a worker in the middle of a start.

        Returns the time from the kill to the claim of another worker. If it was the only one, the time from the lock
        of its successor, so without the time that the supervisor and Python take.
        """
        self._wait(lambda: self._rows(_WORKERS) == [(workers,)], "all workers to hold their locks")
        game_id = f"recovery-{next(self._games)}"
        self._lobby.send(Job(game_id, image=SAMPLE_TAGS[0]))
        ((fence, pid),) = self._wait(lambda: self._rows(_CLAIM, game_id), "the start to be claimed")
        # At any time between two passes of the sweeper.
        time.sleep(self.chance.random())
        began = _kill(pid)
        if workers == 1:
            self._wait(lambda: self._rows(_WORKERS) == [(0,)], "the lock to be released")
            self._wait(lambda: self._rows(_WORKERS) == [(1,)], "the next worker")
            began = time.monotonic()
        self._wait(lambda: any(claim[0] > fence for claim in self._rows(_CLAIM, game_id)), "another worker")
        seconds = time.monotonic() - began
        self._lobby.send(Job(game_id, reason="cancelled"))
        return seconds

    def of_leader(self, loop: str) -> float:
        """Kill the process that leads this loop; return the time until another one leads all that it has led."""
        before = self._leaders()
        pid = before[loop]
        led = {name for name, leader in before.items() if leader == pid}
        time.sleep(self.chance.random())
        began = _kill(pid)

        def all_have_new_leaders() -> bool:
            now = self._leaders()
            return all(now.get(name, pid) != pid for name in led)

        self._wait(all_have_new_leaders, f"another leader of {', '.join(led)}")
        seconds = time.monotonic() - began
        # The next kill needs a standby that has started.
        self._wait(lambda: all(self._rows(_SESSIONS, name)[0][0] > 1 for name in led), "the next standby")
        return seconds

    def of_restart(self, program: str) -> float:
        """Stop a program with SIGTERM and start it again while a job arrives every 50 ms.

        Returns the longest time from a job to its result, by the clock of Redis.
        """
        config, streams = self.stack.config, self._lobby.streams
        restarting = threading.Thread(target=self._restart, args=[program])
        restarting.start()
        sent: dict[str, int] = {}
        while restarting.is_alive() or len(sent) < _LEAST_JOBS:
            game_id = f"never-started-{next(self._games)}"
            fields: Any = {"game_id": game_id, "reason": "cancelled", "requested_at_ms": "1800000000000"}
            sent[game_id] = _milliseconds(streams.xadd(config.stop_jobs_stream, fields))
            time.sleep(_JOB_SECONDS)

        def results() -> dict[str, int]:
            entries: Any = streams.xrange(config.job_results_stream)
            return {entry["game_id"]: _milliseconds(entry_id) for entry_id, entry in entries}

        self._wait(lambda: sent.keys() <= results().keys(), "the results of all jobs")
        ended = results()
        return max(ended[game_id] - at for game_id, at in sent.items()) / 1000

    def _restart(self, program: str) -> None:
        self.stack.switch(program, on=False)
        self.stack.switch(program, on=True)
        self._wait(self._all_run, "the supervisor to start the process")

    @property
    def loops(self) -> list[str]:
        """The loops that have a leader."""
        return sorted(self._leaders())

    def close(self) -> None:
        """Close the connections."""
        self._lobby.streams.close()
        self._database.close()

    def _leaders(self) -> dict[str, int]:
        return dict(self._rows(_LEADERS))

    def _all_run(self) -> bool:
        return all(state["statename"] == "RUNNING" for state in self.stack.processes())

    def _rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._database.cursor() as cursor:
            cursor.execute(query, parameters)
            return list(cursor.fetchall())

    def _wait(self, condition: Callable[[], T], what: str) -> T:
        deadline = time.monotonic() + _LONGEST_SECONDS
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(_POLL_SECONDS)
        message = f"waited {_LONGEST_SECONDS:.0f} s for {what}"
        raise TimeoutError(message)


def _milliseconds(entry_id: Any) -> int:
    return int(str(entry_id).partition("-")[0])


def _kill(pid: int) -> float:
    os.kill(pid, signal.SIGKILL)
    return time.monotonic()

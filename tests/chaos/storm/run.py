"""The storm itself: send, strike and watch at once; then wait for calm, and judge."""

import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field

import psycopg2
import redis
from docker.errors import DockerException
from requests.exceptions import RequestException

from rtmanager.local.console import Console
from rtmanager.local.dockerd import client
from rtmanager.local.leftovers import shims
from rtmanager.local.shapes import Shape
from rtmanager.local.stack import Stack
from runtimes.specs import container_name
from tests.chaos.storm.callers import Callers
from tests.chaos.storm.evidence import Evidence, collect
from tests.chaos.storm.lobby import Lobby, connect
from tests.chaos.storm.observer import Observer
from tests.chaos.storm.report import Report
from tests.chaos.storm.script import COPIES, LEASE_SECONDS, Call, Job, Meddling, Scale, Script, Step, write
from tests.chaos.storm.verdict import Case, Verdict, judge
from tests.chaos.storm.violence import Violence

_WORKER_THREADS, _WEB_THREADS = 8, 8
SHAPE = Shape(
    own_engine=True,
    split=True,
    copies=COPIES,
    settings={
        "GAME_LEASE_TTL_SECONDS": str(LEASE_SECONDS),
        "WORKER_CONCURRENCY": str(_WORKER_THREADS),
        "WEB_THREADS": str(_WEB_THREADS),
        "REST_WAIT_SECONDS": "8",
        "START_SETTLE": "100ms",
        "PATCH_SETTLE_SECONDS": "0.3",
        "CONTAINER_STOP_TIMEOUT_SECONDS": "2",
        "RECONCILE_INTERVAL": "5s",
        "INSPECT_INTERVAL": "15s",
        "PROBE_INTERVAL": "15s",
        "SHUTDOWN_TIMEOUT": "10s",
    },
)
# Each thread of a worker and of web has one, and so has each loop of bridge, sweeper, relay, watcher, prober and
# clock; some more are Celery's own, of its consumer, its lease keeper and its result backend.
_MOST_CONNECTIONS = 2 * (_WORKER_THREADS + 5) + _WEB_THREADS + 2 * 2 + 3 + 6
_LEAST_UNANSWERED, _MOST_UNANSWERED = 20, 100
_PROGRESS_SECONDS = 4.0
_LOOK_SECONDS = 0.5
_AWAY = (psycopg2.Error, redis.RedisError, DockerException, RequestException, ValueError)


@dataclass(slots=True)
class Storm:
    """One run on a stack that is up."""

    stack: Stack
    console: Console
    scale: Scale
    jobs_per_second: float
    drain_seconds: float
    script: Script = field(init=False)
    stopping: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    meddlings: int = 0
    waits_for: Sequence[str] = ()
    _jobs_sent: int = 0
    _began: float = field(default_factory=time.monotonic)
    lobby: Lobby = field(init=False)
    callers: Callers = field(init=False)
    observer: Observer = field(init=False)
    violence: Violence = field(init=False)

    def __post_init__(self) -> None:
        self.script = write(self.scale)
        self.lobby = Lobby(self.stack.config, connect(self.stack.config), self.stopping.is_set)
        self.callers = Callers(self.stack.url, self.stopping.is_set)
        self.observer = Observer(self.stack, self.stopping)
        self.violence = Violence(self.stack, self.script.blows, lambda: self.sent, self.stopping)

    def run(self) -> Report:
        """From the first job to the verdict."""
        with self._company() as striking:
            self._send_all()
            striking.join()
            calm_from = time.monotonic()
            evidence, verdict = self._drain()
        report = self._report(evidence, verdict, drain_seconds=time.monotonic() - calm_from)
        if not report.is_clean:
            self._keep(evidence)
        return report

    @contextmanager
    def _company(self) -> Iterator[threading.Thread]:
        """Everything that goes on beside the sender; all of it has ended afterwards."""
        striking = threading.Thread(target=self.violence.run, daemon=True)
        telling = threading.Thread(target=self._tell, daemon=True)
        threads = [striking, telling, *self.observer.start()]
        striking.start()
        telling.start()
        try:
            yield striking
        finally:
            self.stopping.set()
            for thread in threads:
                thread.join()
            self.callers.wait()
            self.lobby.streams.close()

    def _send_all(self) -> None:
        chance = random.Random(self.scale.seed)  # noqa: S311 - the same pace for the same seed
        for step in self.script.steps:
            while self._unanswered() >= self._most_unanswered:
                time.sleep(_LOOK_SECONDS / 5)
            self._send(step)
            self.sent += 1
            time.sleep(chance.expovariate(self.jobs_per_second) if isinstance(step, Job) else 0)
        # The blows that come after the last step.
        self.sent = len(self.script.steps) + 1

    @property
    def _most_unanswered(self) -> int:
        """Then Lobby waits: the service sets the pace, and the blows come between jobs, not after them."""
        return min(_MOST_UNANSWERED, max(_LEAST_UNANSWERED, self.scale.jobs // 12))

    def _unanswered(self) -> int:
        return self._jobs_sent - len(self.observer.results)

    def _send(self, step: Step) -> None:
        if isinstance(step, Call):
            self.callers.send(step)
        elif isinstance(step, Meddling):
            self._meddle(step)
        else:
            self.lobby.send(step)
            self._jobs_sent += isinstance(step, Job)

    def _meddle(self, what: Meddling) -> None:
        with suppress(DockerException, RequestException), client(self.stack.docker_host, timeout_seconds=5) as engine:
            container = engine.containers.get(container_name(what.game_id))
            container.remove(force=True) if what.removes else container.kill()
            self.meddlings += 1

    def _drain(self) -> tuple[Evidence, Verdict]:
        """Until nothing is open and nothing can still heal, or the time for it is over; returns the last look."""
        deadline = time.monotonic() + self.drain_seconds
        while True:
            try:
                evidence = collect(self.stack)
                verdict = judge(self._case(evidence))
                if len(self.callers.told) < self._calls:
                    verdict.hurts["unanswered calls"] = ["some calls have no answer yet"]
                self.waits_for = verdict.may_heal
                if not self.waits_for or time.monotonic() > deadline:
                    return evidence, verdict
            except _AWAY:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_LOOK_SECONDS)

    @property
    def _calls(self) -> int:
        return sum(isinstance(step, Call) for step in self.script.steps)

    def _case(self, evidence: Evidence) -> Case:
        return Case(
            evidence=evidence,
            written=self.lobby.written,
            told=tuple(self.callers.told),
            doubles=dict(self.observer.doubles),
            most_connections=_MOST_CONNECTIONS,
        )

    def _tell(self) -> None:
        while not self.stopping.wait(_PROGRESS_SECONDS):
            self.console.say(f"  {self._progress()}")

    def _progress(self) -> str:
        blows, scale = self.violence, self.scale
        return (
            f"{time.monotonic() - self._began:4.0f} s  jobs {self._jobs_sent}/{scale.jobs}  "
            f"results {len(self.observer.results)}  kills {blows.kills.total()}/{scale.kills}  "
            f"servers {blows.server_kills.total()}/{scale.server_kills}  live {self.observer.live}  "
            + (f"waits for: {', '.join(self.waits_for)}" if self.waits_for else f"last: {blows.last}")
        )

    def _report(self, evidence: Evidence, verdict: Verdict, *, drain_seconds: float) -> Report:
        blows = self.violence
        refusals = [one for one in evidence.results if one.fields["error_code"] == "invalid_request"]
        given_up = [one for one in evidence.operations if one.code == "internal_error"]
        repairs = [one for one in evidence.operations if one.kind.startswith("reconcile_") and not one.code]
        figures: dict[str, object] = {
            "seed": self.scale.seed,
            "jobs": self._jobs_sent,
            "entries that are none": len(evidence.dead_letters),
            "results": len(evidence.results) - len(refusals),
            "refusals": len(refusals),
            "REST calls": len(self.callers.told),
            "REST calls repeated": self.callers.repeats,
            "operations": len(evidence.operations),
            "given up": len(given_up),
            "repairs": len(repairs),
            "meddlings": self.meddlings,
            "process kills": dict(blows.kills),
            "pauses": blows.pauses,
            "server kills": dict(blows.server_kills),
            "looks at Docker": self.observer.looks,
            "most live at once": self.observer.most_live,
            "connections at end": evidence.connections,
            "stray shims": len(self._stray_shims(evidence)),
            "drain s": drain_seconds,
            "total s": time.monotonic() - self._began,
        }
        return Report(figures, {**verdict.hurts, "not restarted": list(blows.problems)})

    def _stray_shims(self, evidence: Evidence) -> list[str]:
        """Engines that Docker itself has lost sight of: it was killed between starting one and noting that."""
        alive = {one.id for one in evidence.containers if one.status == "running"}
        return [line for line in shims(self.stack.place) if not any(one in line for one in alive)]

    def _keep(self, evidence: Evidence) -> None:
        """For whoever wants to know why."""
        file = self.stack.place.home / "evidence.json"
        tags = {tag: asdict(what) for tag, what in self.lobby.written.items()}
        told: Sequence[object] = [asdict(one) for one in self.callers.told]
        file.write_text(json.dumps({"evidence": asdict(evidence), "written": tags, "told": told}, indent=1))

"""The storm: sends jobs, injects faults and observes at once; then waits until all work is finished, and evaluates."""

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

from deploy.local.console import Console
from deploy.local.docker.daemon import connect_docker
from deploy.local.stack import Stack
from deploy.local.stack_options import StackOptions
from deploy.local.system.process_cleanup import shims
from runtimes.container_spec import container_name
from tests.chaos.storm.callers import Callers
from tests.chaos.storm.collected_records import Evidence, collect
from tests.chaos.storm.fault_injection import FaultInjector
from tests.chaos.storm.lobby import Lobby, connect
from tests.chaos.storm.observer import Observer
from tests.chaos.storm.report import Report
from tests.chaos.storm.script import COPIES, LEASE_SECONDS, Call, Job, ManualChange, Scale, Script, Step, write
from tests.chaos.storm.verdict import Case, Diagnosis, evaluate

_WORKER_THREADS, _WEB_THREADS = 8, 8
OPTIONS = StackOptions(
    own_docker=True,
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
# clock; some more are Celery's own, of its consumer, its lease keeper, its lock and its result backend.
_MOST_CONNECTIONS = 2 * (_WORKER_THREADS + 6) + _WEB_THREADS + 2 * 2 + 3 + 6
_LEAST_UNANSWERED, _MOST_UNANSWERED = 20, 100
_PROGRESS_SECONDS = 4.0
_POLL_SECONDS = 0.5
_AWAY = (psycopg2.Error, redis.RedisError, DockerException, RequestException, ValueError)


@dataclass(slots=True)
class Storm:
    """One run on a running stack."""

    stack: Stack
    console: Console
    scale: Scale
    jobs_per_second: float
    drain_seconds: float
    script: Script = field(init=False)
    stopping: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    manual_changes: int = 0
    waiting_for: Sequence[str] = ()
    _jobs_sent: int = 0
    _began: float = field(default_factory=time.monotonic)
    lobby: Lobby = field(init=False)
    callers: Callers = field(init=False)
    observer: Observer = field(init=False)
    injector: FaultInjector = field(init=False)

    def __post_init__(self) -> None:
        self.script = write(self.scale)
        self.lobby = Lobby(self.stack.config, connect(self.stack.config), self.stopping.is_set)
        self.callers = Callers(self.stack.url, self.stopping.is_set)
        self.observer = Observer(self.stack, self.stopping)
        self.injector = FaultInjector(self.stack, self.script.faults, lambda: self.sent, self.stopping)

    def run(self) -> Report:
        """Run from the first job to the report."""
        with self._background_threads() as injecting:
            self._send_all()
            injecting.join()
            calm_from = time.monotonic()
            evidence, verdict = self._drain()
        report = self._report(evidence, verdict, drain_seconds=time.monotonic() - calm_from)
        if not report.is_clean:
            self._keep(evidence)
        return report

    @contextmanager
    def _background_threads(self) -> Iterator[threading.Thread]:
        """Run the threads beside the sender; join all of them after the block."""
        injecting = threading.Thread(target=self.injector.run, daemon=True)
        reporting = threading.Thread(target=self._report_progress, daemon=True)
        threads = [injecting, reporting, *self.observer.start()]
        injecting.start()
        reporting.start()
        try:
            yield injecting
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
                time.sleep(_POLL_SECONDS / 5)
            self._send(step)
            self.sent += 1
            time.sleep(chance.expovariate(self.jobs_per_second) if isinstance(step, Job) else 0)
        # The blows that come after the last step.
        self.sent = len(self.script.steps) + 1

    @property
    def _most_unanswered(self) -> int:
        """From this number on, Game Lobby waits: so faults occur between jobs, not after all of them."""
        return min(_MOST_UNANSWERED, max(_LEAST_UNANSWERED, self.scale.jobs // 12))

    def _unanswered(self) -> int:
        return self._jobs_sent - len(self.observer.results)

    def _send(self, step: Step) -> None:
        if isinstance(step, Call):
            self.callers.send(step)
        elif isinstance(step, ManualChange):
            self._change_by_hand(step)
        else:
            self.lobby.send(step)
            self._jobs_sent += isinstance(step, Job)

    def _change_by_hand(self, what: ManualChange) -> None:
        with (
            suppress(DockerException, RequestException),
            connect_docker(self.stack.docker_host, timeout_seconds=5) as client,
        ):
            container = client.containers.get(container_name(what.game_id))
            container.remove(force=True) if what.removes else container.kill()
            self.manual_changes += 1

    def _drain(self) -> tuple[Evidence, Diagnosis]:
        """Wait until no work is open and no violation can disappear, or until the timeout; return the last records."""
        deadline = time.monotonic() + self.drain_seconds
        while True:
            try:
                evidence = collect(self.stack)
                verdict = evaluate(self._case(evidence))
                if len(self.callers.call_results) < self._calls:
                    verdict.violations["unanswered calls"] = ["some calls have no response yet"]
                self.waiting_for = verdict.may_recover
                if not self.waiting_for or time.monotonic() > deadline:
                    return evidence, verdict
            except _AWAY:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_POLL_SECONDS)

    @property
    def _calls(self) -> int:
        return sum(isinstance(step, Call) for step in self.script.steps)

    def _case(self, evidence: Evidence) -> Case:
        return Case(
            evidence=evidence,
            written=self.lobby.written,
            call_results=tuple(self.callers.call_results),
            doubles=dict(self.observer.doubles),
            most_connections=_MOST_CONNECTIONS,
        )

    def _report_progress(self) -> None:
        while not self.stopping.wait(_PROGRESS_SECONDS):
            self.console.say(f"  {self._progress()}")

    def _progress(self) -> str:
        faults, scale = self.injector, self.scale
        return (
            f"{time.monotonic() - self._began:4.0f} s  jobs {self._jobs_sent}/{scale.jobs}  "
            f"results {len(self.observer.results)}  kills {faults.kills.total()}/{scale.kills}  "
            f"servers {faults.server_kills.total()}/{scale.server_kills}  live {self.observer.live}  "
            + (f"waiting for: {', '.join(self.waiting_for)}" if self.waiting_for else f"last: {faults.last}")
        )

    def _report(self, evidence: Evidence, verdict: Diagnosis, *, drain_seconds: float) -> Report:
        faults = self.injector
        refusals = [one for one in evidence.results if one.fields["error_code"] == "invalid_request"]
        given_up = [one for one in evidence.operations if one.code == "internal_error"]
        repairs = [one for one in evidence.operations if one.kind.startswith("reconcile_") and not one.code]
        figures: dict[str, object] = {
            "seed": self.scale.seed,
            "jobs": self._jobs_sent,
            "invalid entries": len(evidence.dead_letters),
            "results": len(evidence.results) - len(refusals),
            "refusals": len(refusals),
            "REST calls": len(self.callers.call_results),
            "REST calls repeated": self.callers.repeats,
            "operations": len(evidence.operations),
            "given up": len(given_up),
            "repairs": len(repairs),
            "manual changes": self.manual_changes,
            "process kills": dict(faults.kills),
            "pauses": faults.pauses,
            "server kills": dict(faults.server_kills),
            "observations of Docker": self.observer.observations,
            "most live at once": self.observer.most_live,
            "connections at end": evidence.connections,
            "orphaned shims": len(self._orphaned_shims(evidence)),
            "drain s": drain_seconds,
            "total s": time.monotonic() - self._began,
        }
        return Report(figures, {**verdict.violations, "not restarted": list(faults.problems)})

    def _orphaned_shims(self, evidence: Evidence) -> list[str]:
        """Return shims unknown to Docker: it was killed between starting a container and recording it."""
        alive = {one.id for one in evidence.containers if one.status == "running"}
        return [line for line in shims(self.stack.workspace) if not any(one in line for one in alive)]

    def _keep(self, evidence: Evidence) -> None:
        """Store the records for an analysis."""
        file = self.stack.workspace.home / "evidence.json"
        tags = {tag: asdict(what) for tag, what in self.lobby.written.items()}
        call_results: Sequence[object] = [asdict(one) for one in self.callers.call_results]
        file.write_text(json.dumps({"evidence": asdict(evidence), "written": tags, "reported": call_results}, indent=1))

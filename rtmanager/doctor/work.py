"""Verdicts on the work itself: whether each loop has a leader, and a worker hears the clock."""

from collections.abc import Iterator, Mapping

from operations.pulses import LOOPS, PulseName
from operations.vitals import OK, STARTING
from rtmanager.doctor.checks import Check, fail, ok, warn
from rtmanager.doctor.facts import Facts

_ADVICE: Mapping[str, str] = {
    PulseName.CANARY: "Start a worker and manage.py keep_time, with this environment; their logs say what keeps them.",
    PulseName.RELIST: "See that Docker answers and that the clock, a worker and watch_runtimes run.",
    PulseName.BRIDGE: "Start: manage.py bridge_jobs",
    PulseName.SWEEPER: "Start: manage.py bridge_jobs",
    PulseName.RELAY: "Start: manage.py relay_events",
    PulseName.WATCHER: "Start: manage.py watch_runtimes",
    PulseName.PROBER: "Start: manage.py watch_runtimes",
    PulseName.CLOCK: "Start: manage.py keep_time",
    "operations": "Run: rtm operations --state running, then rtm operation ID",
    "leases": "Start a worker; the sweeper in bridge_jobs then hands it the work.",
    "outbox": "Start: manage.py relay_events; its log says what keeps it.",
    "streams": "Start: manage.py bridge_jobs; its log says what keeps it.",
}
_NAMES: Mapping[str, str] = {PulseName.CANARY: "clock and worker", PulseName.RELIST: "comparison with Docker"}


def judge_work(facts: Facts) -> Iterator[Check]:
    """All checks of the processes and of what waits for them."""
    yield _workers(facts)
    yield from (_vital(name, verdict) for name, verdict in facts.vitals.items())
    if facts.database is not None:
        yield _letters(facts.database.waiting_letters)


def _workers(facts: Facts) -> Check:
    if facts.workers is None:
        return warn(
            "workers", "the broker was not asked", "Mend Redis first; RTMANAGER_CELERY_BROKER_URL is the broker."
        )
    if not facts.workers:
        advice = "Start: celery -A rtmanager worker …, as the README shows, with this environment."
        return fail("workers", "none answers", advice)
    return ok("workers", f"{len(facts.workers)}: {', '.join(sorted(facts.workers))}")


def _vital(name: str, verdict: str) -> Check:
    title = _NAMES.get(name, f"leader of {name}" if name in LOOPS else name)
    if verdict == OK:
        return ok(title, "as it should be")
    if verdict == STARTING:
        return warn(title, "no sign of life yet, but this process has just begun", "Look again in a minute.")
    if verdict.startswith("unknown"):
        return warn(title, verdict, "Mend that server first.")
    return fail(title, verdict, _ADVICE.get(name, "See docs/runbook.md."))


def _letters(waiting: int) -> Check:
    if waiting:
        return warn("dead letters", f"{waiting} wait for somebody", "Run: rtm dead-letters list")
    return ok("dead letters", "none wait")

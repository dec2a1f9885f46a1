"""Checks of the servers that the service needs, and of its own processes and queues."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

from operations.monitoring.component_status import ComponentState, ComponentStatus
from operations.monitoring.heartbeats import LOOPS, HeartbeatName
from rtmanager.doctor.checks import Check, Result, fail, ok, run_each, warn
from rtmanager.doctor.facts import Containers, Database, Facts
from runtimes.container_spec import AUTO_LOG_DRIVER, LOG_DRIVERS, choose_log_driver
from runtimes.containers.types import DockerInfo
from runtimes.formatting import format_timestamp
from tasks.streams.base import StreamServer

MIN_POSTGRES = 140000
MIN_REDIS = (6, 2)
MIN_API = (1, 41)
MAX_SKEW = timedelta(seconds=2)
_MIN_FREE_CONNECTIONS = 10
_REFUSED = "Docker answers but refuses: allow this service in the authorisation plugin or proxy in front of Docker."
_COMPONENT_ADVICE: Mapping[str, str] = {
    HeartbeatName.CANARY: "Start a worker and manage.py run_scheduler with this environment; read their logs.",
    HeartbeatName.FULL_RECONCILE: "Check that Docker answers, and that run_scheduler, a worker and watch_runtimes run.",
    HeartbeatName.BRIDGE: "Start: manage.py bridge_jobs",
    HeartbeatName.SWEEPER: "Start: manage.py bridge_jobs",
    HeartbeatName.RELAY: "Start: manage.py relay_events",
    HeartbeatName.WATCHER: "Start: manage.py watch_runtimes",
    HeartbeatName.PROBER: "Start: manage.py watch_runtimes",
    HeartbeatName.SCHEDULER: "Start: manage.py run_scheduler",
    "operations": "Run: rtm operations --state running, then rtm operation ID",
    "leases": "Start a worker; the sweeper in bridge_jobs then notifies it of the work.",
    "outbox": "Start: manage.py relay_events; its log names the cause.",
    "state_root": "Mount the right disk on that host; if its directory is right, run: manage.py accept_state_root",
    "streams": "Start: manage.py bridge_jobs; its log names the cause.",
}
_TITLES: Mapping[str, str] = {
    HeartbeatName.CANARY: "scheduler and worker",
    HeartbeatName.FULL_RECONCILE: "full reconcile",
    "state_root": "state root of the workers",
}


def check_dependencies(facts: Facts) -> Iterator[Check]:
    """Check the servers; a server that does not answer gets a single check."""
    if facts.database is None:
        yield _unreachable(facts, "postgresql", "Start PostgreSQL, or correct RTMANAGER_DATABASE_URL.")
    else:
        yield from run_each(_OF_DATABASE, facts.database)
    if facts.redis is None:
        yield _unreachable(facts, "redis", "Start Redis, or correct RTMANAGER_REDIS_URL.")
    else:
        yield from run_each(_OF_REDIS, facts.redis)
        yield Check("job streams", *_stream_owners(facts))
    if facts.engine is None:
        advice = "Start Docker, or correct RTMANAGER_DOCKER_HOST and the permissions of its socket."
        yield _unreachable(facts, "docker", _REFUSED if "docker" in facts.refused else advice)
    else:
        yield from run_each(_OF_ENGINE, facts.engine)
        yield Check("log driver", *_log_driver(facts, facts.engine))
    if facts.containers is not None:
        yield Check("game network", *_network(facts, facts.containers))
        yield Check("stack", *_stack(facts, facts.containers))
    elif "containers" in facts.refused:
        yield _unreachable(facts, "containers", _REFUSED)
    yield Check("clocks", *_clocks(facts))


def check_components(facts: Facts) -> Iterator[Check]:
    """Check the processes and their queues."""
    if "broker" in facts.unreachable:
        yield _unreachable(facts, "broker", "Start Redis, or correct RTMANAGER_CELERY_BROKER_URL and its TLS options.")
    yield Check("workers", *_workers(facts))
    yield Check("versions", *_versions(facts))
    yield Check("stack of the processes", *_stacks(facts))
    for name, status in facts.components.items():
        title = _TITLES.get(name, f"leader of {name}" if name in LOOPS else name)
        yield Check(title, *_component(name, status, holder=_holder(facts, name)))
    if facts.database is not None:
        yield Check("dead letters", *_dead_letters(facts.database.waiting_dead_letters))


def _unreachable(facts: Facts, name: str, advice: str) -> Check:
    return Check(name, *fail(facts.unreachable.get(name, "it does not answer"), advice))


def _postgres_version(database: Database) -> Result:
    found = f"PostgreSQL {database.version // 10000}.{database.version % 10000}"
    if database.version < MIN_POSTGRES:
        return fail(found, "Upgrade it to 14 or newer: the leader election needs idle_session_timeout.")
    if database.is_replica:
        return fail(f"{found}, a replica", "Point RTMANAGER_DATABASE_URL to the primary.")
    if database.is_read_only:
        advice = "Point RTMANAGER_DATABASE_URL to the primary, or turn default_transaction_read_only off."
        return fail(f"{found}, read-only", advice)
    if database.encoding != "UTF8":
        return fail(f"{found}, encoding {database.encoding}", "Recreate the database with UTF8.")
    return ok(found)


def _migrations(database: Database) -> Result:
    if database.unapplied_migrations:
        return fail(f"not applied: {', '.join(database.unapplied_migrations)}", "Run: manage.py migrate")
    if database.newer_migrations:
        found = f"applied by a newer version: {', '.join(database.newer_migrations)}"
        return warn(found, "Fine during an upgrade; then restart this process with the newer version.")
    return ok("all applied")


def _connections(database: Database) -> Result:
    found = f"{database.connections} of {database.most_connections} in use"
    if database.most_connections - database.connections < _MIN_FREE_CONNECTIONS:
        return warn(found, "Raise max_connections of PostgreSQL, or run fewer processes and threads.")
    return ok(found)


def _sessions(database: Database) -> Result:
    if database.shares_sessions:
        found = "a connection pooler shares PostgreSQL sessions between clients, as PgBouncer does in transaction mode"
        advice = "Set pool_mode=session for RTM, or connect without the pooler: locks and notifications need a session."
        return fail(found, advice)
    return ok("each connection has its own")


def _redis_version(server: StreamServer) -> Result:
    found = f"{server.name} {server.version}"
    if _numbers(server.version) < MIN_REDIS:
        return fail(found, "Upgrade it to 6.2 or newer.")
    if server.role != "master":
        return fail(f"{found}, a {server.role}", "Point RTMANAGER_REDIS_URL to the master.")
    if server.refusal_of_writes:
        advice = "Raise maxmemory or trim streams if it is full; otherwise correct the ACL of the user of RTM."
        return fail(f"{found}: {server.refusal_of_writes}", advice)
    return ok(found)


def _redis_persistence(server: StreamServer) -> Result:
    if server.appends_to_file:
        return ok("append-only file")
    found = "no append-only file: a restart loses all jobs since the last snapshot"
    return warn(found, "Set appendonly yes: jobs that the bridge has not read yet exist only in Redis.")


def _redis_memory(server: StreamServer) -> Result:
    if not server.max_memory_bytes:
        return ok(f"no limit, policy {server.eviction}")
    found = f"limit {server.max_memory_bytes >> 20} MiB, policy {server.eviction}"
    if server.eviction != "noeviction":
        return fail(found, "Set maxmemory-policy noeviction: a full Redis would delete jobs.")
    return ok(found)


def _stream_owners(facts: Facts) -> Result:
    ours = facts.database.identity if facts.database else ""
    owners = facts.redis.owners if facts.redis else {}
    foreign = [f"{stream} belongs to {owner}" for stream, owner in owners.items() if ours and owner != ours]
    if foreign:
        advice = (
            "Give each installation its own streams (RTMANAGER_START_JOBS_STREAM, RTMANAGER_STOP_JOBS_STREAM) or its "
            "own database of Redis. If RTM has moved here, stop the other one, then run: manage.py database_restored"
        )
        return fail(f"{'; '.join(foreign)}; this is {ours}", advice)
    return ok("of this installation")


def _redis_groups(server: StreamServer) -> Result:
    if server.streams_without_group:
        found = f"no consumer group on {', '.join(server.streams_without_group)}"
        return warn(found, "Start bridge_jobs, which creates them; its log names the cause.")
    return ok("present on each job stream")


def _docker_version(engine: DockerInfo) -> Result:
    found = f"{engine.product} {engine.version}, API {engine.api_version}"
    if _numbers(engine.api_version) < MIN_API:
        return fail(found, "Upgrade it to 20.10 or newer.")
    if engine.os_type != "linux":
        return fail(f"{found}, for {engine.os_type}", "Game engines are Linux containers: use Docker for Linux.")
    if engine.product != "Docker":
        return warn(found, "Use Docker: docs/engines.md lists what does not work with this engine.")
    return ok(found)


def _docker_limits(engine: DockerInfo) -> Result:
    missing = ", ".join(name for name, is_kept in engine.limits.items() if not is_kept)
    if missing:
        found = f"this host does not enforce limits of {missing}"
        return warn(found, "Enable the cgroup controllers (kernel command line), then reboot.")
    return ok(f"{', '.join(engine.limits)} enforced")


def _live_restore(engine: DockerInfo) -> Result:
    if engine.live_restore:
        return ok("on: games keep running when Docker restarts")
    advice = 'Put {"live-restore": true} into /etc/docker/daemon.json and reload Docker.'
    return warn("off: a restart of Docker ends every game", advice)


def _log_driver(facts: Facts, engine: DockerInfo) -> Result:
    wanted, known = facts.config.container_log_driver, engine.log_drivers
    chosen, listed = choose_log_driver(wanted, known), ", ".join(known)
    if known and chosen not in known:
        advice = f"Set RTMANAGER_CONTAINER_LOG_DRIVER to auto. If it is: the engine needs {', '.join(LOG_DRIVERS[:-1])}"
        return fail(f"{chosen}, but the engine has {listed}", f"{advice} or {LOG_DRIVERS[-1]}.")
    if wanted != AUTO_LOG_DRIVER:
        return ok(chosen)
    return ok(f"{chosen}, chosen from {listed}" if known else f"{chosen}, the engine reports none")


def _network(facts: Facts, containers: Containers) -> Result:
    name = facts.config.docker_network
    if containers.network_exists:
        return ok(f"{name} exists")
    return fail(f"{name} does not exist", f"Run: docker network create --internal {name}")


def _stack(facts: Facts, containers: Containers) -> Result:
    stack = facts.config.stack
    if not containers.unknown:
        return ok(f"{stack}, {containers.owned} containers")
    found = f"{len(containers.unknown)} containers of stack {stack} were created by no recorded operation"
    advice = (
        f"Check whether another installation on this Docker host has RTMANAGER_STACK={stack} too, or whether this "
        f"database was restored from a backup: {', '.join(containers.unknown[:3])}"
    )
    return warn(found, advice)


def _clocks(facts: Facts) -> Result:
    if not facts.clock_skew:
        return warn("no other clock could be read", "Fix the servers above first.")
    skews = ", ".join(f"{name} {skew.total_seconds():+.1f} s" for name, skew in facts.clock_skew.items())
    if max(map(abs, facts.clock_skew.values())) > MAX_SKEW:
        advice = "Synchronise the clocks of all hosts with NTP; recorded times are wrong."
        return warn(f"differ: {skews}", advice)
    return ok(f"in sync: {skews}")


def _workers(facts: Facts) -> Result:
    if facts.processes is None:
        return warn("unknown", "Fix PostgreSQL first: workers write heartbeats into it.")
    workers = [one.process for one in facts.processes if one.kind == "worker"]
    if not workers:
        advice = "Start: celery -A rtmanager worker …, as in the README, with this environment."
        return fail("no worker has written a heartbeat within the last minute", advice)
    return ok(f"{len(workers)}: {', '.join(sorted(workers))}")


def _versions(facts: Facts) -> Result:
    others = [one for one in facts.processes or () if one.version != facts.version]
    if others:
        found = ", ".join(f"{one} has version {one.version or '0.1.0'}" for one in others)
        return warn(f"this is {facts.version}, but {found}", "Fine during an upgrade; then restart these processes.")
    return ok(f"all {facts.version}")


def _stacks(facts: Facts) -> Result:
    stack = facts.config.stack
    others = [one for one in facts.processes or () if one.stack not in ("", stack)]
    if others:
        found = ", ".join(f"{one} has {one.stack}" for one in others)
        advice = (
            "Give all processes of an installation the same RTMANAGER_STACK, and each installation its own database or "
            "schema (RTMANAGER_DATABASE_URL)."
        )
        return fail(f"RTMANAGER_STACK is {stack} here, but {found}", advice)
    return ok(f"all of stack {stack}")


def _component(name: str, status: ComponentStatus, *, holder: str) -> Result:
    match status.state:
        case ComponentState.OK:
            return ok(f"as it should be{holder}")
        case ComponentState.STARTING:
            return warn(f"no heartbeat yet, but this process has just started{holder}", "Check again in a minute.")
        case ComponentState.UNKNOWN:
            return warn(str(status), "Fix that server first.")
    return fail(f"{status}{holder}", _COMPONENT_ADVICE.get(name, "See docs/runbook.md."))


def _holder(facts: Facts, name: str) -> str:
    """Return the session that holds the leadership, as the end of a sentence; empty if the component has none."""
    if name not in LOOPS or facts.database is None or facts.database.unapplied_migrations:
        return ""
    holder = facts.database.leaders.get(name)
    if holder is None:
        return "; no session holds the lock"
    since = format_timestamp(holder.connected_at) if holder.connected_at else "a time that is not visible"
    session = " at ".join(filter(None, [holder.application or "an unnamed program", holder.address]))
    return f"; held by {session}, PostgreSQL session {holder.pid}, connected since {since}"


def _dead_letters(waiting: int) -> Result:
    return warn(f"{waiting} wait for an operator", "Run: rtm dead-letters list") if waiting else ok("none waiting")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


_OF_DATABASE: Mapping[str, Callable[[Database], Result]] = {
    "postgresql": _postgres_version, "sessions": _sessions, "migrations": _migrations,
    "connections": _connections,
}  # fmt: skip
_OF_REDIS: Mapping[str, Callable[[StreamServer], Result]] = {
    "redis": _redis_version, "redis persistence": _redis_persistence, "redis memory": _redis_memory,
    "consumer groups": _redis_groups,
}  # fmt: skip
_OF_ENGINE: Mapping[str, Callable[[DockerInfo], Result]] = {
    "docker": _docker_version, "docker limits": _docker_limits, "live restore": _live_restore,
}  # fmt: skip

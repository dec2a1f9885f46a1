"""Verdicts on what the service depends on: PostgreSQL, Redis, Docker, and their clocks."""

from collections.abc import Callable, Iterator
from datetime import timedelta

from rtmanager.doctor.checks import Check, fail, ok, warn
from rtmanager.doctor.facts import Containers, Database, Facts
from runtimes.containers.engine import Engine
from tasks.streams.base import StreamServer

OLDEST_POSTGRES = 140000
OLDEST_REDIS = (6, 2)
OLDEST_API = (1, 41)
LARGEST_SKEW = timedelta(seconds=2)
_FEW_CONNECTIONS_LEFT = 10


def judge_servers(facts: Facts) -> Iterator[Check]:
    """All checks of the servers; one check alone for a server that is silent."""
    if facts.database is None:
        yield _silent(facts, "postgresql", "Start PostgreSQL, or correct RTMANAGER_DATABASE_URL.")
    else:
        yield from (check(facts.database) for check in _OF_DATABASE)
    if facts.redis is None:
        yield _silent(facts, "redis", "Start Redis, or correct RTMANAGER_REDIS_URL.")
    else:
        yield from (check(facts.redis) for check in _OF_REDIS)
    if facts.engine is None:
        yield _silent(facts, "docker", "Start Docker, or correct RTMANAGER_DOCKER_HOST and who may use its socket.")
    else:
        yield from (check(facts.engine) for check in _OF_ENGINE)
    if facts.containers is not None:
        yield _network(facts, facts.containers)
        yield _stack(facts, facts.containers)
    yield _clocks(facts)


def _silent(facts: Facts, name: str, advice: str) -> Check:
    return fail(name, facts.silences.get(name, "it does not answer"), advice)


def _postgres_version(database: Database) -> Check:
    found = f"PostgreSQL {database.version // 10000}.{database.version % 10000}"
    if database.version < OLDEST_POSTGRES:
        return fail("postgresql", found, "Upgrade it to 14 or newer: leaders are found by its idle_session_timeout.")
    if database.is_replica:
        return fail("postgresql", f"{found}, a replica", "Point RTMANAGER_DATABASE_URL to the primary.")
    if database.encoding != "UTF8":
        return fail("postgresql", f"{found}, encoding {database.encoding}", "Make the database anew with UTF8.")
    return ok("postgresql", found)


def _migrations(database: Database) -> Check:
    missing = database.unapplied_migrations
    if missing:
        return fail("migrations", f"not applied: {', '.join(missing)}", "Run: manage.py migrate")
    return ok("migrations", "all applied")


def _connections(database: Database) -> Check:
    found = f"{database.connections} of {database.most_connections} are in use"
    if database.most_connections - database.connections < _FEW_CONNECTIONS_LEFT:
        return warn("connections", found, "Raise max_connections of PostgreSQL, or run fewer processes and threads.")
    return ok("connections", found)


def _redis_version(server: StreamServer) -> Check:
    found = f"{server.name} {server.version}"
    if _numbers(server.version) < OLDEST_REDIS:
        return fail("redis", found, "Upgrade it to 6.2 or newer.")
    if server.role != "master":
        return fail("redis", f"{found}, a {server.role}", "Point RTMANAGER_REDIS_URL to the master.")
    return ok("redis", found)


def _redis_persistence(server: StreamServer) -> Check:
    if server.appends_to_file:
        return ok("redis persistence", "append-only file")
    advice = "Set appendonly yes: jobs that the bridge has not read yet live in Redis alone."
    return warn("redis persistence", "no append-only file: a restart loses what came since the last snapshot", advice)


def _redis_memory(server: StreamServer) -> Check:
    if not server.max_memory_bytes:
        return ok("redis memory", f"no limit, policy {server.eviction}")
    found = f"limit {server.max_memory_bytes >> 20} MiB, policy {server.eviction}"
    if server.eviction != "noeviction":
        return fail("redis memory", found, "Set maxmemory-policy noeviction: Redis would throw away jobs when full.")
    return ok("redis memory", found)


def _redis_groups(server: StreamServer) -> Check:
    if server.streams_without_group:
        found = f"no consumer group on {', '.join(server.streams_without_group)}"
        return warn("consumer groups", found, "Start bridge_jobs, which makes them; its log says what keeps it.")
    return ok("consumer groups", "one on each job stream")


def _docker_version(engine: Engine) -> Check:
    found = f"Docker {engine.version}, API {engine.api_version}"
    if _numbers(engine.api_version) < OLDEST_API:
        return fail("docker", found, "Upgrade it to 20.10 or newer.")
    if engine.os_type != "linux":
        return fail("docker", f"{found}, for {engine.os_type}", "Game engines are Linux containers: use such a Docker.")
    return ok("docker", found)


def _docker_limits(engine: Engine) -> Check:
    missing = [name for name, is_kept in engine.limits.items() if not is_kept]
    if missing:
        found = f"this host keeps no limit of {', '.join(missing)}"
        return warn("docker limits", found, "Switch the cgroup controllers on (kernel command line), then reboot.")
    return ok("docker limits", f"{', '.join(engine.limits)} are kept")


def _live_restore(engine: Engine) -> Check:
    if engine.live_restore:
        return ok("live restore", "games outlive a restart of Docker")
    advice = 'Put {"live-restore": true} into /etc/docker/daemon.json and reload Docker.'
    return warn("live restore", "off: a restart of Docker ends every game", advice)


def _network(facts: Facts, containers: Containers) -> Check:
    name = facts.config.docker_network
    if containers.network_exists:
        return ok("game network", f"{name} exists")
    return fail("game network", f"{name} does not exist", f"Run: docker network create --internal {name}")


def _stack(facts: Facts, containers: Containers) -> Check:
    stack = facts.config.stack
    if containers.unknown:
        found = f"{len(containers.unknown)} containers of stack {stack} were made by no operation on record"
        advice = (
            f"Look whether another installation on this Docker host has RTMANAGER_STACK={stack} too, or this database "
            f"was put back: {', '.join(containers.unknown[:3])}"
        )
        return warn("stack", found, advice)
    return ok("stack", f"{stack}, {containers.owned} containers")


def _clocks(facts: Facts) -> Check:
    if not facts.clock_skew:
        return warn("clocks", "no other clock could be read", "Mend the servers above first.")
    told = ", ".join(f"{name} {skew.total_seconds():+.1f} s" for name, skew in facts.clock_skew.items())
    if max(map(abs, facts.clock_skew.values())) > LARGEST_SKEW:
        return warn("clocks", f"apart: {told}", "Let NTP set the clocks of all hosts; times in records are told wrong.")
    return ok("clocks", f"together: {told}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


_OF_DATABASE: tuple[Callable[[Database], Check], ...] = (_postgres_version, _migrations, _connections)
_OF_REDIS: tuple[Callable[[StreamServer], Check], ...] = (
    _redis_version, _redis_persistence, _redis_memory, _redis_groups,
)  # fmt: skip
_OF_ENGINE: tuple[Callable[[Engine], Check], ...] = (_docker_version, _docker_limits, _live_restore)

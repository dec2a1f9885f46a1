"""Checks of what operators choose: settings, the state root, the image policy."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from rtmanager.doctor.checks import Result, fail, ok, warn
from rtmanager.doctor.facts import Facts
from runtimes.container_limits import beyond_host
from runtimes.container_spec import Limits, parse_memory

MIN_FREE_BYTES = 1 << 30
MIN_LEASE_SECONDS = 15


def _secret_key(facts: Facts) -> Result:
    if facts.config.secret_key.get_secret_value():
        return ok("set")
    advice = "Set RTMANAGER_SECRET_KEY to 50 random characters, the same for all processes."
    return warn("not set: each process creates its own, and console sessions end with it", advice)


def _access(facts: Facts) -> Result:
    if facts.config.api_auth == "network":
        advice = "Set RTMANAGER_API_AUTH=token, or make sure that only trusted services reach the port."
        return warn("every caller that reaches the port may do everything", advice)
    if facts.database and not (facts.database.tokens or facts.database.unapplied_migrations):
        return warn("by token, but no valid token exists", "Run: manage.py api_token create …")
    return ok("by token")


def _hosts(facts: Facts) -> Result:
    if "*" in facts.config.allowed_hosts:
        return warn("any", "Set RTMANAGER_ALLOWED_HOSTS to the host names of the service.")
    return ok(facts.config.allowed_hosts)


def _admin(facts: Facts) -> Result:
    if facts.database is None or facts.database.unapplied_migrations:
        return ok("unknown until PostgreSQL works and is migrated")
    if facts.database.has_superuser:
        return ok("exists")
    advice = "Run: manage.py createsuperuser, or set RTMANAGER_ADMIN_BOOTSTRAP_USER and _PASSWORD for ensure_admin."
    return warn("no account can sign in to the console", advice)


def _lease(facts: Facts) -> Result:
    seconds = facts.config.game_lease_ttl_seconds
    if seconds < MIN_LEASE_SECONDS:
        advice = "Set RTMANAGER_GAME_LEASE_TTL_SECONDS to 60: a busy machine may pause for longer."
        return warn(f"{seconds:g} s", advice)
    return ok(f"{seconds:g} s")


def _stop_timeout(facts: Facts) -> Result:
    grace, shutdown = facts.config.container_stop_timeout_seconds, facts.config.shutdown_timeout.total_seconds()
    found = f"a game has {grace} s to stop, a process {shutdown:g} s"
    if grace <= shutdown:
        return ok(found)
    advice = (
        f"Set RTMANAGER_SHUTDOWN_TIMEOUT to {grace}s or more: a worker that shuts down while a game stops leaves "
        "the rest to the next worker."
    )
    return warn(found, advice)


def _deadline(facts: Facts) -> Result:
    deadline = facts.config.job_deadline
    if deadline <= max(timedelta(seconds=facts.config.game_lease_ttl_seconds), facts.config.shutdown_timeout):
        advice = "Set RTMANAGER_JOB_DEADLINE to an hour: jobs would fail at the first outage."
        return fail(f"{deadline}, no longer than a lease or a shutdown", advice)
    return ok(str(deadline))


def _probes(facts: Facts) -> Result:
    interval, timeout = facts.config.probe_interval, facts.config.probe_timeout
    found = f"every {interval.total_seconds():g} s, each for {timeout.total_seconds():g} s"
    if timeout >= interval:
        return warn(found, "Set RTMANAGER_PROBE_TIMEOUT well below RTMANAGER_PROBE_INTERVAL.")
    return ok(found)


def _images(facts: Facts) -> Result:
    policy = facts.config.image_pull_policy
    failed = facts.database.failed_pulls if facts.database else 0
    if failed:
        advice = "Check that the Docker host can pull: docker pull IMAGE; the failed operations name it."
        return warn(f"policy {policy}; {failed} pulls failed within the last hour", advice)
    if policy == "always":
        advice = "With if_missing, a start needs no registry if the image is present; then tags must never move."
        return warn("policy always: no game starts while the registry is unavailable", advice)
    return ok(f"policy {policy}")


def _registries(facts: Facts) -> Result:
    if facts.config.allowed_registries:
        return ok(f"only {', '.join(facts.config.allowed_registries)}")
    advice = "Set RTMANAGER_ALLOWED_REGISTRIES to the registries of your games, for example registry.example/team/*."
    return warn("images of every registry may run", advice)


def _default_limits(facts: Facts) -> Result:
    config = facts.config
    found = f"{config.default_cpu_quota:g} CPUs, {config.default_memory}, {config.default_pids_limit} processes"
    if facts.engine is None or facts.engine.capacity is None:
        return ok(f"{found}; the capacity of the Docker host is unknown")
    limits = Limits(config.default_cpu_quota, parse_memory(config.default_memory), config.default_pids_limit)
    beyond = "; ".join(beyond_host(limits, facts.engine.capacity))
    return fail(beyond, "Lower these limits: no game with them can start.") if beyond else ok(found)


def _state_root(facts: Facts) -> Result:
    root, path = facts.state_root, facts.config.game_state_root
    if not root.exists:
        advice = "Fine if only workers mount it; else create it, writable for the user of the workers."
        return warn(f"{path} does not exist for this process", advice)
    if not root.is_directory:
        return fail(f"{path} is not a directory", "Move it away, or set RTMANAGER_GAME_STATE_ROOT.")
    if not root.is_writable:
        advice = "Make the user of the workers its owner, and check that its file system is mounted read-write."
        return fail(f"{path} is not writable for this process", advice)
    if facts.database and facts.database.state_root_refusal:
        advice = "Mount the right disk; if this directory is right, run on this host: manage.py accept_state_root"
        return fail(facts.database.state_root_refusal, advice)
    if root.mode & 0o002:
        return warn(f"{path} has mode {root.mode:04o}", f"Run: chmod o-w {path}")
    return ok(f"{path}, mode {root.mode:04o}")


def _space(facts: Facts) -> Result:
    root = facts.state_root
    if not root.exists:
        return ok("not visible to this process")
    found = f"{root.free / (1 << 30):.1f} of {root.total / (1 << 30):.1f} GiB free for game state"
    if root.free < MIN_FREE_BYTES:
        return warn(found, "Free some space: games fail if they cannot write their state.")
    return ok(found)


CONFIG_CHECKS: Mapping[str, Callable[[Facts], Result]] = {
    "secret key": _secret_key, "api access": _access, "allowed hosts": _hosts, "administrator": _admin,
    "lease": _lease, "stop timeout": _stop_timeout, "job deadline": _deadline, "probes": _probes, "images": _images,
    "registries": _registries, "default limits": _default_limits, "state root": _state_root,
    "free space": _space,
}  # fmt: skip

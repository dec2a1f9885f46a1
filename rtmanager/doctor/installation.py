"""Verdicts on what operators choose: settings, the state root, how images come."""

from collections.abc import Callable, Iterator
from datetime import timedelta

from rtmanager.doctor.checks import Check, fail, ok, warn
from rtmanager.doctor.facts import Facts

LITTLE_SPACE = 1 << 30
SHORT_LEASE_SECONDS = 15


def judge_installation(facts: Facts) -> Iterator[Check]:
    """All checks of settings and of this host."""
    yield from (check(facts) for check in _CHECKS)


def _secret_key(facts: Facts) -> Check:
    if facts.config.secret_key.get_secret_value():
        return ok("secret key", "set")
    advice = "Set RTMANAGER_SECRET_KEY to 50 random characters, the same for all processes."
    return warn("secret key", "each process makes its own: the admin's sessions end with it", advice)


def _access(facts: Facts) -> Check:
    if facts.config.api_auth == "network":
        advice = "Set RTMANAGER_API_AUTH=token, or see that only trusted services reach the port."
        return warn("api access", "everybody who reaches the port may do everything", advice)
    if facts.database and not (facts.database.tokens or facts.database.unapplied_migrations):
        return warn("api access", "by token, but there is no valid one", "Run: manage.py api_token create …")
    return ok("api access", "by token")


def _hosts(facts: Facts) -> Check:
    if "*" in facts.config.allowed_hosts:
        advice = "Set RTMANAGER_ALLOWED_HOSTS to the names by which the service is called."
        return warn("allowed hosts", "any", advice)
    return ok("allowed hosts", facts.config.allowed_hosts)


def _admin(facts: Facts) -> Check:
    if facts.database is None or facts.database.unapplied_migrations:
        return ok("administrator", "not known before PostgreSQL is as it should be")
    if facts.database.has_superuser:
        return ok("administrator", "there is one")
    advice = "Run: manage.py createsuperuser, or set RTMANAGER_ADMIN_BOOTSTRAP_USER and _PASSWORD for ensure_admin."
    return warn("administrator", "nobody can sign in to the admin", advice)


def _lease(facts: Facts) -> Check:
    seconds = facts.config.game_lease_ttl_seconds
    if seconds < SHORT_LEASE_SECONDS:
        advice = "Set RTMANAGER_GAME_LEASE_TTL_SECONDS to 60: a busy machine may pause longer than this."
        return warn("lease", f"{seconds:g} s", advice)
    return ok("lease", f"{seconds:g} s")


def _stop_timeout(facts: Facts) -> Check:
    grace, shutdown = facts.config.container_stop_timeout_seconds, facts.config.shutdown_timeout.total_seconds()
    found = f"a game has {grace} s to end, a process {shutdown:g} s"
    if grace > shutdown:
        advice = (
            f"Set RTMANAGER_SHUTDOWN_TIMEOUT to {grace}s or more: a worker that is replaced while a game ends leaves "
            "the rest to the next one."
        )
        return warn("stop time-out", found, advice)
    return ok("stop time-out", found)


def _deadline(facts: Facts) -> Check:
    deadline = facts.config.job_deadline
    least = max(timedelta(seconds=facts.config.game_lease_ttl_seconds), facts.config.shutdown_timeout)
    if deadline <= least:
        advice = "Set RTMANAGER_JOB_DEADLINE to an hour: jobs would be given up at the first outage."
        return fail("job deadline", f"{deadline}, no longer than a lease or a shutdown", advice)
    return ok("job deadline", str(deadline))


def _probes(facts: Facts) -> Check:
    config = facts.config
    found = f"every {config.probe_interval.total_seconds():g} s, each for {config.probe_timeout.total_seconds():g} s"
    if config.probe_timeout >= config.probe_interval:
        return warn("probes", found, "Set RTMANAGER_PROBE_TIMEOUT well below RTMANAGER_PROBE_INTERVAL.")
    return ok("probes", found)


def _images(facts: Facts) -> Check:
    policy = facts.config.image_pull_policy
    failed = facts.database.failed_pulls if facts.database else 0
    if failed:
        advice = (
            "See that the Docker host reaches the registry and may pull: docker pull IMAGE; the operations name it."
        )
        return warn("images", f"policy {policy}; {failed} pulls failed within the last hour", advice)
    if policy == "always":
        advice = "With if_missing a start needs no registry when the image is there; tags then must never move."
        return warn("images", "policy always: no start while the registry is away", advice)
    return ok("images", f"policy {policy}")


def _state_root(facts: Facts) -> Check:
    root, place = facts.state_root, facts.config.game_state_root
    if not root.exists:
        advice = "Right where only workers have it mounted; else make it, writable for the worker's user."
        return warn("state root", f"{place} does not exist for this process", advice)
    if not root.is_directory:
        return fail("state root", f"{place} is no directory", "Move it away, or set RTMANAGER_GAME_STATE_ROOT.")
    if not root.is_writable:
        advice = "Give it to the user of the workers, and see that its file system is mounted read-write."
        return fail("state root", f"{place} cannot be written to by this process", advice)
    if root.mode & 0o002:
        return warn("state root", f"{place} has mode {root.mode:04o}", f"Run: chmod o-w {place}")
    return ok("state root", f"{place}, mode {root.mode:04o}")


def _space(facts: Facts) -> Check:
    root = facts.state_root
    if not root.exists:
        return ok("free space", "not to be seen from this process")
    found = f"{root.free / (1 << 30):.1f} of {root.total / (1 << 30):.1f} GiB are free for states"
    if root.free < LITTLE_SPACE:
        return warn("free space", found, "Make room: games fail when they cannot write their state.")
    return ok("free space", found)


_CHECKS: tuple[Callable[[Facts], Check], ...] = (
    _secret_key, _access, _hosts, _admin, _lease, _stop_timeout, _deadline, _probes, _images, _state_root, _space,
)  # fmt: skip

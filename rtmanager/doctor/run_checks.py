"""All checks, in the order in which an operator should fix problems."""

from rtmanager.doctor.checks import Check, Status, run_each
from rtmanager.doctor.collect import gather
from rtmanager.doctor.config_checks import CONFIG_CHECKS
from rtmanager.doctor.facts import Facts
from rtmanager.doctor.service_checks import check_components, check_dependencies


def evaluate(facts: Facts) -> list[Check]:
    """Evaluate all checks on these facts. Pure."""
    return [*check_dependencies(facts), *run_each(CONFIG_CHECKS, facts), *check_components(facts)]


def run_checks() -> list[Check]:
    """Check this installation now; takes at most some seconds, changes nothing, never raises."""
    return evaluate(gather())


def is_healthy(checks: list[Check]) -> bool:
    """Return whether no check failed; warnings do not count."""
    return all(check.status != Status.FAILED for check in checks)

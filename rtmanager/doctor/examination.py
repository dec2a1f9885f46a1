"""All checks, in the order in which trouble is best mended."""

from rtmanager.doctor.checks import Check, Status
from rtmanager.doctor.facts import Facts
from rtmanager.doctor.gathering import gather
from rtmanager.doctor.installation import judge_installation
from rtmanager.doctor.servers import judge_servers
from rtmanager.doctor.work import judge_work


def judge(facts: Facts) -> list[Check]:
    """Every verdict on these facts. Pure."""
    return [*judge_servers(facts), *judge_installation(facts), *judge_work(facts)]


def examine() -> list[Check]:
    """Look at this installation now; takes some seconds at most, changes nothing, never raises."""
    return judge(gather())


def is_healthy(checks: list[Check]) -> bool:
    """Whether nothing failed; warnings do not count."""
    return all(check.status != Status.FAILED for check in checks)

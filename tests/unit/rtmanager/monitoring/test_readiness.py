import threading
from collections.abc import Callable, Iterator

import pytest
from django.test import Client

from operations.monitoring.bounded_call import Deadline, SingleFlight
from rtmanager.monitoring.snapshot import error_code_for, is_failed, run_checks
from runtimes.containers.base import ContainersUnavailableError, NotObservedError
from runtimes.exceptions import ServiceUnavailableError


@pytest.fixture
def hang() -> Iterator[Callable[[], None]]:
    end = threading.Event()

    def look() -> None:
        end.wait(60)

    yield look
    end.set()


def fine() -> None:
    return None


def docker_is_away() -> None:
    message = "Docker does not answer at unix:///nowhere"
    raise ContainersUnavailableError(message)


def redis_is_away() -> None:
    message = "Redis refuses the connection"
    raise ServiceUnavailableError(message)


def reasons(timeout_seconds: float = 5.0, /, **checks: Callable[[], None]) -> dict[str, str]:
    flights = [SingleFlight(name, check) for name, check in checks.items()]
    return {name: outcome.failure for name, outcome in run_checks(flights, Deadline(timeout_seconds)).items()}


def test_liveness_checks_only_the_process() -> None:
    assert Client().get("/healthz").json() == {"status": "ok"}


def test_when_all_answer_no_reason_is_given() -> None:
    assert reasons(a=fine, b=fine) == {"a": "", "b": ""}


def test_each_dependency_has_its_own_reason() -> None:
    assert reasons(redis=redis_is_away, docker=docker_is_away, database=fine) == {
        "redis": "Redis refuses the connection",
        "docker": "Docker does not answer at unix:///nowhere",
        "database": "",
    }


def test_a_check_that_hangs_is_named_and_delays_no_other(hang: Callable[[], None]) -> None:
    assert reasons(0.05, docker=hang, redis=fine) == {"docker": "not observed: no answer within 0.05 s", "redis": ""}


def test_concurrent_requests_share_one_check(hang: Callable[[], None]) -> None:
    check = SingleFlight("docker", hang)

    assert check.start() is check.start()


def test_the_next_request_after_a_result_checks_again() -> None:
    later_answers = [fine, redis_is_away]

    def look() -> None:
        later_answers.pop()()

    check = SingleFlight("redis", look)

    assert [run_checks([check], Deadline(5))["redis"].failure for _ in range(2)] == ["Redis refuses the connection", ""]


def test_a_check_that_is_itself_broken_counts_as_not_ready() -> None:
    def broken() -> None:
        raise KeyError

    assert reasons(redis=broken) == {"redis": "the check itself failed; see the log"}


@pytest.mark.parametrize(
    ("failed", "code"),
    [
        ({"docker"}, "docker_unavailable"),
        ({"network"}, "docker_unavailable"),
        ({"database"}, "service_unavailable"),
        ({"docker", "redis"}, "service_unavailable"),
    ],
)
def test_the_error_code_shows_whether_only_docker_fails(failed: set[str], code: str) -> None:
    assert error_code_for(failed) == code


@pytest.mark.parametrize(
    ("error", "expected"), [(ContainersUnavailableError("away"), True), (NotObservedError("no worker"), False)]
)
def test_a_dependency_that_was_not_observed_has_not_failed(error: Exception, *, expected: bool) -> None:
    def check() -> None:
        raise error

    outcome = run_checks([SingleFlight("docker", check)], Deadline(5))["docker"]

    assert (bool(outcome.failure), is_failed(outcome)) == (True, expected)


@pytest.mark.parametrize(("name", "expected"), [("docker", False), ("network", False), ("redis", True)])
def test_docker_has_not_failed_when_nothing_was_observed_in_time(
    hang: Callable[[], None], name: str, *, expected: bool
) -> None:
    outcome = run_checks([SingleFlight(name, hang)], Deadline(0.05))[name]

    assert (bool(outcome.failure), is_failed(outcome)) == (True, expected)

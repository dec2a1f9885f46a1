import threading
from collections.abc import Callable, Iterator

import pytest
from django.test import Client

from rtmanager.api.readiness import Check, Readiness, code_of
from runtimes.containers.base import ContainersUnavailableError
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


def test_liveness_looks_at_nothing_but_the_process() -> None:
    assert Client().get("/healthz").json() == {"status": "ok"}


def test_when_all_answer_no_reason_is_given() -> None:
    readiness = Readiness({"a": fine, "b": fine}, timeout_seconds=5)

    assert readiness.reasons() == {"a": "", "b": ""}


def test_each_dependency_has_its_own_reason() -> None:
    readiness = Readiness({"redis": redis_is_away, "docker": docker_is_away, "database": fine}, timeout_seconds=5)

    assert readiness.reasons() == {
        "redis": "Redis refuses the connection",
        "docker": "Docker does not answer at unix:///nowhere",
        "database": "",
    }


def test_a_check_that_hangs_is_named_and_delays_no_other(hang: Callable[[], None]) -> None:
    readiness = Readiness({"docker": hang, "redis": fine}, timeout_seconds=0.05)

    assert readiness.reasons() == {"docker": "no answer within 0.05 s", "redis": ""}


def test_however_often_it_is_asked_only_one_look_is_under_way(hang: Callable[[], None]) -> None:
    check = Check("docker", hang)

    assert check.begin() is check.begin()


def test_after_an_answer_the_next_question_looks_again() -> None:
    later_answers = [fine, redis_is_away]

    def look() -> None:
        later_answers.pop()()

    readiness = Readiness({"redis": look}, timeout_seconds=5)

    assert [readiness.reasons(), readiness.reasons()] == [{"redis": "Redis refuses the connection"}, {"redis": ""}]


def test_a_check_that_is_itself_broken_counts_as_not_ready() -> None:
    def broken() -> None:
        raise KeyError

    readiness = Readiness({"redis": broken}, timeout_seconds=5)

    assert readiness.reasons() == {"redis": "the check itself failed; the log tells why"}


@pytest.mark.parametrize(
    ("failed", "code"),
    [
        ({"docker"}, "docker_unavailable"),
        ({"network"}, "docker_unavailable"),
        ({"database"}, "service_unavailable"),
        ({"docker", "redis"}, "service_unavailable"),
    ],
)
def test_the_code_says_whether_docker_alone_is_missing(failed: set[str], code: str) -> None:
    reasons = {name: "away" if name in failed else "" for name in ("database", "redis", "docker", "network")}

    assert code_of(reasons) == code

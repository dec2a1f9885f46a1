"""Docker rejects a call: this is not an outage, and the error contains Docker's text and advice."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from runtimes.container_spec import ContainerPolicy, ContainerSpec, Limits, build_spec
from runtimes.containers.base import (
    ContainerStartFailedError,
    ContainersUnavailableError,
    DockerRefusedError,
    ImagePullFailedError,
    NameTakenError,
    NoSuchContainerError,
)
from runtimes.containers.docker.adapter import DockerAdapter
from runtimes.containers.refusals import Refusal
from runtimes.exceptions import RuntimeManagerError, StartConfigInvalidError
from tests.servers.scripted_daemon import ScriptedDaemon, scripted_daemon

CONTAINER_ID = "c" * 64
DENIED = "authorization denied by plugin opa: not this one"
SPEC: ContainerSpec = build_spec(
    ContainerPolicy(
        stack="blue",
        network="net",
        state_root="/states",
        state_mount_path="/state",
        state_env_name="STATE",
        default_limits=Limits(1.0, 64 * 1024**2, 64),
        read_only=True,
        user="",
        stop_grace_seconds=1,
    ),
    game_id="g1",
    image_ref="game:1.0.0",
    limits=Limits(1.0, 64 * 1024**2, 64),
    operation_id=1,
    fence=1,
    started_at_ms=1,
)
# Each call of the port, and what it asks the daemon.
CALLS: dict[str, tuple[str, Callable[[DockerAdapter], object]]] = {
    "ping": ("GET _ping", lambda containers: containers.ping()),
    "docker_info": ("GET info", lambda containers: containers.docker_info()),
    "network_exists": ("GET networks", lambda containers: containers.network_exists("net")),
    "find": ("GET json", lambda containers: containers.find(CONTAINER_ID)),
    "list_by_ids": ("GET json", lambda containers: containers.list_by_ids([CONTAINER_ID])),
    "list_owned": ("GET json", lambda containers: containers.list_owned("blue")),
    "inspect": ("GET json", lambda containers: containers.inspect(CONTAINER_ID)),
    "logs": ("GET logs", lambda containers: containers.logs(CONTAINER_ID, tail=5)),
    "stats": ("GET stats", lambda containers: containers.stats(CONTAINER_ID)),
    "find_image": ("GET json", lambda containers: containers.find_image("game:1.0.0")),
    "pull": ("POST create", lambda containers: containers.pull("game:1.0.0")),
    "create": ("POST create", lambda containers: containers.create(SPEC)),
    "start": ("POST start", lambda containers: containers.start(CONTAINER_ID)),
    "wait_until_exited": ("POST wait", lambda containers: containers.wait_until_exited(CONTAINER_ID, 5)),
    "stop": ("POST stop", lambda containers: containers.stop(CONTAINER_ID, grace_seconds=1)),
    "remove": (f"DELETE {CONTAINER_ID}", lambda containers: containers.remove(CONTAINER_ID, grace_seconds=1)),
}
STATUSES = [400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 413, 418, 429, 451]
# "Later", "too many requests": these two decide nothing.
UNDECIDED = [408, 429]


@pytest.fixture(scope="module")
def daemon() -> Iterator[ScriptedDaemon]:
    with scripted_daemon() as daemon:
        yield daemon


@pytest.fixture
def containers(daemon: ScriptedDaemon) -> Iterator[DockerAdapter]:
    daemon.script = {"GET version": (200, {"ApiVersion": "1.52"}), "GET info": (200, {})}
    with closing(DockerAdapter(daemon.address, call_seconds=20)) as containers:
        yield containers


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("body", [{"message": DENIED}, b"<h1>403 Forbidden</h1> nginx", {"error": "no"}, b"[]", b""])
def test_no_answer_of_4xx_is_ever_an_outage(
    daemon: ScriptedDaemon, containers: DockerAdapter, call: str, body: object
) -> None:
    question, ask = CALLS[call]
    # The check after a start that misses something finds the container.
    daemon.script["GET json"] = (200, {"Id": CONTAINER_ID, "Name": "/x", "Config": {}, "State": {"Status": "created"}})
    # So does the stop after a removal that met a conflict.
    daemon.script["POST stop"] = (204, b"")
    outages = []
    for status in STATUSES:
        daemon.script[question] = (status, body)
        try:
            ask(containers)
        except ContainersUnavailableError:
            outages.append(status)
        except RuntimeManagerError as error:
            outages += [status] if error.transient else []

    assert outages == UNDECIDED or (call == "pull" and outages == [])


@pytest.mark.parametrize("call", CALLS)
def test_no_answer_of_5xx_to_a_question_is_a_refusal(
    daemon: ScriptedDaemon, containers: DockerAdapter, call: str
) -> None:
    question, ask = CALLS[call]
    daemon.script[question] = (500, {"message": "context canceled"})

    with pytest.raises((ContainersUnavailableError, ImagePullFailedError)):
        ask(containers)


@pytest.mark.parametrize("call", sorted(CALLS.keys() - {"pull", "create", "start"}))
def test_a_rejection_contains_the_error_text_of_docker_and_advice(
    daemon: ScriptedDaemon, containers: DockerAdapter, call: str
) -> None:
    question, ask = CALLS[call]
    daemon.script[question] = (403, {"message": DENIED})

    with pytest.raises(DockerRefusedError) as caught:
        ask(containers)

    assert caught.value.refusal == Refusal.ACCESS_DENIED
    assert f"and refused: {DENIED}; allow this service" in caught.value.message
    assert CONTAINER_ID not in caught.value.message


def test_a_daemon_that_refuses_its_version_is_no_outage(daemon: ScriptedDaemon, containers: DockerAdapter) -> None:
    daemon.script["GET version"] = (403, {"message": DENIED})

    with pytest.raises(DockerRefusedError, match=DENIED):
        containers.ping()


def test_a_daemon_that_was_upgraded_beneath_us_is_asked_for_its_version_again(
    daemon: ScriptedDaemon, containers: DockerAdapter
) -> None:
    daemon.script["GET _ping"] = (200, b"OK")
    containers.ping()
    daemon.script["GET _ping"] = (400, b"client version 1.52 is too old. Minimum supported API version is 1.53")
    with pytest.raises(ContainersUnavailableError, match="is too old"):
        containers.ping()
    daemon.asked.clear()
    daemon.script["GET _ping"] = (200, b"OK")

    containers.ping()

    assert daemon.asked == ["GET version", "GET _ping"]


@pytest.mark.parametrize(
    "error_text", ["invalid reference format", "repository name must not be more than 255 characters"]
)
@pytest.mark.parametrize("call", ["find_image", "create"])
def test_a_reference_that_this_daemon_alone_refuses_is_a_wrong_configuration(
    daemon: ScriptedDaemon, containers: DockerAdapter, call: str, error_text: str
) -> None:
    question, ask = CALLS[call]
    daemon.script[question] = (400, {"message": error_text})

    with pytest.raises(StartConfigInvalidError, match=f"{error_text}; correct the image reference"):
        ask(containers)


def test_a_name_in_use_stays_an_error_of_its_own(daemon: ScriptedDaemon, containers: DockerAdapter) -> None:
    daemon.script["POST create"] = (409, {"message": "Conflict. The container name is already in use"})

    with pytest.raises(NameTakenError):
        containers.create(SPEC)


@pytest.mark.parametrize("call", ["inspect", "logs", "stats", "stop"])
def test_a_container_that_is_gone_stays_an_error_of_its_own(
    daemon: ScriptedDaemon, containers: DockerAdapter, call: str
) -> None:
    question, ask = CALLS[call]
    daemon.script[question] = (404, {"message": "No such container: c"})

    with pytest.raises(NoSuchContainerError, match=f"container {'c' * 12} does not exist"):
        ask(containers)


@pytest.mark.parametrize(
    ("error_text", "refusal"),
    [
        ("container is marked for removal and cannot be started", Refusal.REMOVAL_UNDER_WAY),
        ("cannot start a paused container, try unpause instead", Refusal.PAUSED),
    ],
)
def test_a_start_in_conflict_with_the_state_of_the_container_is_refused_once(
    daemon: ScriptedDaemon, containers: DockerAdapter, error_text: str, refusal: Refusal
) -> None:
    daemon.script["POST start"] = (409, {"message": error_text})

    with pytest.raises(ContainerStartFailedError, match=error_text) as caught:
        containers.start(CONTAINER_ID)

    assert caught.value.refusal == refusal


def test_a_container_that_cannot_be_removed_is_a_refusal_of_any_status(
    daemon: ScriptedDaemon, containers: DockerAdapter
) -> None:
    daemon.script[f"DELETE {CONTAINER_ID}"] = (
        500,
        {"message": f'cannot remove container "{CONTAINER_ID}": unable to remove filesystem: operation not permitted'},
    )

    with pytest.raises(DockerRefusedError, match=r"could not be removed.*not permitted; release its") as caught:
        containers.remove(CONTAINER_ID, grace_seconds=1)

    assert caught.value.refusal == Refusal.NOT_REMOVABLE


def test_an_outage_while_a_refusal_is_handled_is_an_outage(daemon: ScriptedDaemon, containers: DockerAdapter) -> None:
    daemon.script |= {"POST start": (400, {"message": "no"}), f"DELETE {CONTAINER_ID}": (503, {"message": "gone away"})}

    with pytest.raises(ContainersUnavailableError, match="gone away"):
        _start_or_remove(containers)


def _start_or_remove(containers: DockerAdapter) -> None:
    try:
        containers.start(CONTAINER_ID)
    except ContainerStartFailedError:
        containers.remove(CONTAINER_ID, grace_seconds=1)

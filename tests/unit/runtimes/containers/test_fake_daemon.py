"""The hooks of the fake Docker, on which other tests rely."""

import pytest

from runtimes.container_spec import ContainerPolicy, ContainerSpec, Limits, build_spec
from runtimes.containers.base import ContainerState, ContainersUnavailableError, ImagePullFailedError
from runtimes.containers.fake.adapter import FakeAdapter, FakeDocker, FakeImage

LIMITS = Limits(cpu_quota=1.0, memory_bytes=64 * 1024**2, pids_limit=64)
POLICY = ContainerPolicy(
    stack="blue",
    network="net",
    state_root="/games",
    state_mount_path="/state",
    state_env_name="GAME_STATE_PATH",
    default_limits=LIMITS,
    read_only=True,
    user="",
    stop_grace_seconds=1,
)
LOST_ANSWER = ContainersUnavailableError("the answer was lost")


def spec(game_id: str = "g1") -> ContainerSpec:
    return build_spec(
        POLICY, game_id=game_id, image_ref="game:1", limits=LIMITS, operation_id=1, fence=1, started_at_ms=1
    )


@pytest.fixture
def daemon() -> FakeDocker:
    daemon = FakeDocker()
    daemon.networks.add("net")
    daemon.images["game:1"] = FakeImage()
    return daemon


@pytest.fixture
def containers(daemon: FakeDocker) -> FakeAdapter:
    return FakeAdapter(daemon)


def test_an_image_of_the_registry_becomes_local_by_a_pull(daemon: FakeDocker, containers: FakeAdapter) -> None:
    daemon.registry["game:2"] = FakeImage()
    assert containers.find_image("game:2") is None

    containers.pull("game:2")

    assert containers.find_image("game:2") is not None


def test_a_failure_before_the_effect_leaves_no_effect_and_happens_once(
    daemon: FakeDocker, containers: FakeAdapter
) -> None:
    daemon.fail_before("pull", ImagePullFailedError("refused"))
    daemon.fail_before("create", LOST_ANSWER)

    with pytest.raises(ContainersUnavailableError):
        containers.create(spec())

    assert daemon.containers == {}
    assert containers.find(spec().name) is None
    assert containers.create(spec()) in daemon.containers


def test_a_failure_after_the_effect_keeps_the_effect(daemon: FakeDocker, containers: FakeAdapter) -> None:
    daemon.fail_after("create", LOST_ANSWER)

    with pytest.raises(ContainersUnavailableError):
        containers.create(spec())

    assert containers.find(spec().name) is not None


def test_a_daemon_that_comes_back_has_everything_as_it_was(daemon: FakeDocker, containers: FakeAdapter) -> None:
    container_id = containers.create(spec())
    daemon.disconnect()
    with pytest.raises(ContainersUnavailableError):
        containers.find(container_id)

    daemon.reconnect()

    assert containers.find(container_id) is not None


def test_calls_are_counted_by_name(daemon: FakeDocker, containers: FakeAdapter) -> None:
    containers.ping()
    containers.find("missing")
    containers.find("missing")

    assert daemon.calls == {"ping": 1, "find": 2}


def test_adapters_of_one_daemon_see_the_same_containers(daemon: FakeDocker, containers: FakeAdapter) -> None:
    container_id = containers.create(spec())

    assert FakeAdapter(daemon).find(container_id) == containers.find(container_id)


def test_a_container_can_die_and_vanish_from_outside(daemon: FakeDocker, containers: FakeAdapter) -> None:
    container_id = containers.create(spec())
    containers.start(container_id)

    daemon.exit(container_id, exit_code=137, oom_killed=True)

    found = containers.find(container_id)
    assert found is not None
    assert (found.state, found.exit_code, found.oom_killed) == (ContainerState.EXITED, 137, True)
    daemon.remove_externally(container_id)
    assert containers.find(container_id) is None


def test_a_reset_daemon_is_empty_and_answers(daemon: FakeDocker, containers: FakeAdapter) -> None:
    daemon.disconnect()
    daemon.fail_before("ping", LOST_ANSWER)

    daemon.reset()

    containers.ping()
    assert daemon.images == {}

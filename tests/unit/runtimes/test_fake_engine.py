"""The hooks of the fake engine, which the tests of its users rely on."""

import pytest

from runtimes.containers.base import ContainerState, ContainersUnavailableError, ImagePullFailedError
from runtimes.containers.fake import FakeContainers, FakeEngine, FakeImage
from runtimes.specs import ContainerPolicy, ContainerSpec, Limits, build_spec

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
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.networks.add("net")
    engine.images["game:1"] = FakeImage()
    return engine


@pytest.fixture
def containers(engine: FakeEngine) -> FakeContainers:
    return FakeContainers(engine)


def test_an_image_of_the_registry_becomes_local_by_a_pull(engine: FakeEngine, containers: FakeContainers) -> None:
    engine.registry["game:2"] = FakeImage()
    assert containers.find_image("game:2") is None

    containers.pull("game:2")

    assert containers.find_image("game:2") is not None


def test_a_failure_before_the_effect_leaves_no_effect_and_happens_once(
    engine: FakeEngine, containers: FakeContainers
) -> None:
    engine.fail_before("pull", ImagePullFailedError("refused"))
    engine.fail_before("create", LOST_ANSWER)

    with pytest.raises(ContainersUnavailableError):
        containers.create(spec())

    assert engine.containers == {}
    assert containers.find(spec().name) is None
    assert containers.create(spec()) in engine.containers


def test_a_failure_after_the_effect_keeps_the_effect(engine: FakeEngine, containers: FakeContainers) -> None:
    engine.fail_after("create", LOST_ANSWER)

    with pytest.raises(ContainersUnavailableError):
        containers.create(spec())

    assert containers.find(spec().name) is not None


def test_an_engine_that_comes_back_has_everything_as_it_was(engine: FakeEngine, containers: FakeContainers) -> None:
    container_id = containers.create(spec())
    engine.go_away()
    with pytest.raises(ContainersUnavailableError):
        containers.find(container_id)

    engine.come_back()

    assert containers.find(container_id) is not None


def test_calls_are_counted_by_name(engine: FakeEngine, containers: FakeContainers) -> None:
    containers.ping()
    containers.find("nobody")
    containers.find("nobody")

    assert engine.calls == {"ping": 1, "find": 2}


def test_adapters_of_one_engine_see_the_same_containers(engine: FakeEngine, containers: FakeContainers) -> None:
    container_id = containers.create(spec())

    assert FakeContainers(engine).find(container_id) == containers.find(container_id)


def test_a_container_can_die_and_vanish_from_outside(engine: FakeEngine, containers: FakeContainers) -> None:
    container_id = containers.create(spec())
    containers.start(container_id)

    engine.exit(container_id, exit_code=137, oom_killed=True)

    found = containers.find(container_id)
    assert found is not None
    assert (found.state, found.exit_code, found.oom_killed) == (ContainerState.EXITED, 137, True)
    engine.vanish(container_id)
    assert containers.find(container_id) is None


def test_a_reset_engine_is_empty_and_answers(engine: FakeEngine, containers: FakeContainers) -> None:
    engine.go_away()
    engine.fail_before("ping", LOST_ANSWER)

    engine.reset()

    containers.ping()
    assert engine.images == {}

"""The words for ``docker run`` ask for all that the service asks the engine for."""

from itertools import pairwise

from bench.rivals.docker_cli import run_words
from runtimes.container_spec import ContainerPolicy, Limits, build_spec

_LIMITS = Limits(cpu_quota=0.5, memory_bytes=64 * 1024**2, pids_limit=64)
_POLICY = ContainerPolicy(
    stack="bench",
    network="games",
    state_root="/srv/games",
    state_mount_path="/state",
    state_env_name="GAME_STATE_PATH",
    default_limits=_LIMITS,
    read_only=True,
    user="1000:1000",
    stop_grace_seconds=30,
)
_SPEC = build_spec(
    _POLICY, game_id="g-1", image_ref="engine:1.0.0", limits=_LIMITS, operation_id=7, fence=3, started_at_ms=1
)


def pairs(words: list[str]) -> set[tuple[str, str]]:
    return set(pairwise(words))


def test_limits_and_hardening_are_asked_for() -> None:
    words = run_words(_SPEC)

    assert {"--init", "--read-only", "--detach"} <= set(words)
    assert {
        ("--memory", "67108864"), ("--memory-swap", "67108864"), ("--cpus", "0.5"), ("--pids-limit", "64"),
        ("--cap-drop", "ALL"), ("--security-opt", "no-new-privileges:true"), ("--oom-score-adj", "500"),
        ("--ulimit", "nofile=1024:16384"), ("--ulimit", "core=0:0"), ("--user", "1000:1000"),
        ("--network", "games"), ("--log-driver", "local"), ("--log-opt", "max-size=10m"),
    } <= pairs(words)  # fmt: skip


def test_state_labels_and_environment_are_those_of_the_game() -> None:
    words = pairs(run_words(_SPEC))

    assert ("--mount", "type=bind,source=/srv/games/g-1,target=/state") in words
    assert ("--label", "com.galaxy.game_id=g-1") in words
    assert ("--env", "GAME_STATE_PATH=/state") in words


def test_the_image_comes_last() -> None:
    assert run_words(_SPEC)[-1].endswith("engine:1.0.0")

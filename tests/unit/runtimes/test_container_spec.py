"""From image labels and policy to the specification of a container."""

import pytest

from runtimes.container_spec import ContainerPolicy, Limits, build_spec, parse_memory

DEFAULTS = Limits(cpu_quota=1.0, memory_bytes=512 * 1024**2, pids_limit=512)
POLICY = ContainerPolicy(
    stack="blue",
    network="galaxy-net",
    state_root="/games/",
    state_mount_path="/var/lib/galaxy-game",
    state_env_name="GAME_STATE_PATH",
    default_limits=DEFAULTS,
    read_only=True,
    user="1000:1000",
    stop_grace_seconds=30,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1048576", 1024**2), ("10b", 10), ("1k", 1024), ("512m", 512 * 1024**2), ("512M", 512 * 1024**2),
        ("64MiB", 64 * 1024**2), ("64 mb", 64 * 1024**2), ("1.5g", 1536 * 1024**2), ("2t", 2 * 1024**4),
        ("9007199254740993", 9007199254740993),
    ],
)  # fmt: skip
def test_memory_is_read_in_units_of_1024(text: str, expected: int) -> None:
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0.1b", "-1m", "m", "1x", "1e3", "nan", "1,5g", "512m 1", "\u0661m", "5mi"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount of memory"):
        parse_memory(text)


def test_a_specification_carries_every_label_of_the_contract() -> None:
    spec = build_spec(
        POLICY,
        game_id="g1",
        image_ref="game:1.0.0",
        limits=DEFAULTS,
        operation_id=7,
        job_key="rest:17",
        fence=3,
        started_at_ms=1_700_000_000_000,
    )

    assert spec.name == "galaxy-game-g1"
    assert spec.labels == {
        "com.galaxy.owner": "rtmanager",
        "com.galaxy.stack": "blue",
        "com.galaxy.kind": "game-engine",
        "com.galaxy.game_id": "g1",
        "com.galaxy.engine_image_ref": "game:1.0.0",
        "com.galaxy.started_at_ms": "1700000000000",
        "com.galaxy.operation_id": "7",
        "com.galaxy.fence": "3",
        "com.galaxy.job_key": "rest:17",
    }


def test_a_specification_mounts_the_state_directory_of_its_game_and_says_where() -> None:
    spec = build_spec(
        POLICY, game_id="g1", image_ref="game:1.0.0", limits=DEFAULTS, operation_id=7, fence=3, started_at_ms=1
    )

    assert (spec.state_path, spec.state_mount_path) == ("/games/g1", "/var/lib/galaxy-game")
    assert spec.environment == {"GAME_STATE_PATH": "/var/lib/galaxy-game", "STORAGE_PATH": "/var/lib/galaxy-game"}
    assert (spec.network, spec.user, spec.read_only, spec.stop_grace_seconds) == ("galaxy-net", "1000:1000", True, 30)

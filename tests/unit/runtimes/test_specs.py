"""From image labels and policy to the specification of a container."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtimes.specs import (
    LABEL_CPU_QUOTA,
    LABEL_MEMORY,
    LABEL_PIDS_LIMIT,
    ContainerPolicy,
    Limits,
    build_spec,
    limits_from_labels,
    parse_memory,
)

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


def test_an_image_without_labels_gets_the_defaults() -> None:
    assert limits_from_labels({"unrelated": "x"}, DEFAULTS) == (DEFAULTS, [])


def test_an_image_asks_for_limits_by_its_labels() -> None:
    labels = {LABEL_CPU_QUOTA: "0.5", LABEL_MEMORY: "64m", LABEL_PIDS_LIMIT: "50"}

    limits, warnings = limits_from_labels(labels, DEFAULTS)

    assert limits == Limits(cpu_quota=0.5, memory_bytes=64 * 1024**2, pids_limit=50)
    assert warnings == []


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (LABEL_CPU_QUOTA, "fast"), (LABEL_CPU_QUOTA, "0"), (LABEL_CPU_QUOTA, "-1"), (LABEL_CPU_QUOTA, "inf"),
        (LABEL_CPU_QUOTA, "nan"), (LABEL_CPU_QUOTA, "0.001"), (LABEL_CPU_QUOTA, "1_0"), (LABEL_CPU_QUOTA, ""),
        (LABEL_MEMORY, "plenty"), (LABEL_MEMORY, "0"), (LABEL_MEMORY, "1m"), (LABEL_MEMORY, "9999999999999999999t"),
        (LABEL_PIDS_LIMIT, "-1"), (LABEL_PIDS_LIMIT, "0"), (LABEL_PIDS_LIMIT, "1.5"), (LABEL_PIDS_LIMIT, "9" * 5000),
    ],
)  # fmt: skip
def test_an_unusable_label_falls_back_with_a_warning_that_names_it(label: str, text: str) -> None:
    limits, warnings = limits_from_labels({label: text}, DEFAULTS)

    assert limits == DEFAULTS
    [warning] = warnings
    assert label in warning
    assert repr(text[:64]) in warning


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([LABEL_CPU_QUOTA, LABEL_MEMORY, LABEL_PIDS_LIMIT]), st.text()))
def test_no_label_can_keep_a_game_from_having_limits(labels: dict[str, str]) -> None:
    limits, warnings = limits_from_labels(labels, DEFAULTS)

    assert limits.cpu_quota >= 0.01
    assert 0 < limits.memory_bytes < 2**63
    assert 0 < limits.pids_limit < 2**63
    assert len(warnings) <= len(labels)


def test_a_specification_carries_every_label_of_the_contract() -> None:
    spec = build_spec(
        POLICY,
        game_id="g1",
        image_ref="game:1.0.0",
        limits=DEFAULTS,
        operation_id=7,
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
    }


def test_a_specification_mounts_the_state_directory_of_its_game_and_says_where() -> None:
    spec = build_spec(
        POLICY, game_id="g1", image_ref="game:1.0.0", limits=DEFAULTS, operation_id=7, fence=3, started_at_ms=1
    )

    assert (spec.state_path, spec.state_mount_path) == ("/games/g1", "/var/lib/galaxy-game")
    assert spec.environment == {"GAME_STATE_PATH": "/var/lib/galaxy-game", "STORAGE_PATH": "/var/lib/galaxy-game"}
    assert (spec.network, spec.user, spec.read_only, spec.stop_grace_seconds) == ("galaxy-net", "1000:1000", True, 30)

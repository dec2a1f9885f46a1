"""Measurements of the daemon, from the shapes that its releases and kernels give them."""

from datetime import UTC, datetime
from typing import Any

from runtimes.containers.docker.payloads import stats_from_json
from runtimes.containers.types import ContainerStats

OLD_KERNEL: dict[str, Any] = {
    "read": "2026-11-21T08:30:01.5Z",
    "preread": "2026-11-21T08:30:00.5Z",
    "pids_stats": {"current": 3},
    "cpu_stats": {
        "cpu_usage": {"total_usage": 1_500_000_000, "percpu_usage": [1_000_000_000, 500_000_000]},
        "system_cpu_usage": 22_000_000_000,
        "online_cpus": 2,
    },
    "precpu_stats": {"cpu_usage": {"total_usage": 1_000_000_000}, "system_cpu_usage": 20_000_000_000},
    "memory_stats": {"usage": 5_000_000, "limit": 64_000_000, "stats": {"total_inactive_file": 1_000_000}},
    "networks": {"eth0": {"rx_bytes": 10, "tx_bytes": 1}, "eth1": {"rx_bytes": 5, "tx_bytes": 2}},
}


def changed(**parts: dict[str, Any]) -> dict[str, Any]:
    return {**OLD_KERNEL, **{name: {**OLD_KERNEL[name], **part} for name, part in parts.items()}}


def test_a_measurement_is_read() -> None:
    assert stats_from_json(OLD_KERNEL) == ContainerStats(
        at=datetime(2026, 11, 21, 8, 30, 1, 500_000, tzinfo=UTC),
        # Half a second of processor time in one second.
        cpu_percent=50.0,
        memory_bytes=4_000_000,
        memory_limit_bytes=64_000_000,
        pids=3,
        network_rx_bytes=15,
        network_tx_bytes=3,
    )


def test_the_page_cache_has_another_name_under_the_new_control_groups() -> None:
    stats = stats_from_json(
        OLD_KERNEL | {"memory_stats": {"usage": 500, "limit": 900, "stats": {"inactive_file": 200}}}
    )

    assert stats is not None
    assert stats.memory_bytes == 300


def test_a_first_measurement_says_nothing_of_the_processor() -> None:
    stats = stats_from_json(OLD_KERNEL | {"precpu_stats": {"cpu_usage": {"total_usage": 0}}})

    assert stats is not None
    assert stats.cpu_percent == 0.0


def test_a_counter_that_went_back_is_no_use_at_all() -> None:
    stats = stats_from_json(changed(precpu_stats={"cpu_usage": {"total_usage": 9_000_000_000}}))

    assert stats is not None
    assert stats.cpu_percent == 0.0


def test_a_daemon_that_does_not_count_cores_has_those_it_measured() -> None:
    stats = stats_from_json(changed(cpu_stats={"online_cpus": 0}))

    assert stats is not None
    assert stats.cpu_percent == 50.0


def test_a_container_without_a_network_has_sent_nothing() -> None:
    stats = stats_from_json({name: part for name, part in OLD_KERNEL.items() if name != "networks"})

    assert stats is not None
    assert (stats.network_rx_bytes, stats.network_tx_bytes) == (0, 0)


def test_a_container_that_does_not_run_has_no_measurement() -> None:
    ended = {"read": "0001-01-01T00:00:00Z", "cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}

    assert stats_from_json(ended) is None

"""Limits requested by image labels: applied within bounds, with a warning for each change, and with their origin."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtimes.container_limits import (
    Ceilings,
    beyond_host,
    ceilings_of,
    describe_limit,
    exceeds_defaults,
    limits_from_labels,
    origin_of,
    raise_advice,
)
from runtimes.container_spec import LABEL_CPU_QUOTA, LABEL_MEMORY, LABEL_PIDS_LIMIT, Limits, MaxLimits
from runtimes.containers.types import HostCapacity

MIB = 1024**2
DEFAULTS = Limits(cpu_quota=1.0, memory_bytes=512 * MIB, pids_limit=512)
HOST = HostCapacity(cpus=2, memory_bytes=4096 * MIB)
HAS = "the capacity of the Docker host; see RTMANAGER_MAX_"
CEILINGS = ceilings_of(MaxLimits(), DEFAULTS, HOST)


def test_an_image_without_labels_gets_the_defaults() -> None:
    assert limits_from_labels({"unrelated": "x"}, DEFAULTS, CEILINGS) == (DEFAULTS, [])


def test_an_image_asks_for_limits_by_its_labels() -> None:
    labels = {LABEL_CPU_QUOTA: "0.5", LABEL_MEMORY: " 64m", LABEL_PIDS_LIMIT: "50 "}

    limits, warnings = limits_from_labels(labels, DEFAULTS, CEILINGS)

    assert limits == Limits(cpu_quota=0.5, memory_bytes=64 * MIB, pids_limit=50)
    assert warnings == []


@pytest.mark.parametrize(
    ("label", "text", "default"),
    [
        (LABEL_CPU_QUOTA, "fast", "1"), (LABEL_CPU_QUOTA, "0", "1"), (LABEL_CPU_QUOTA, "-1", "1"),
        (LABEL_CPU_QUOTA, "inf", "1"), (LABEL_CPU_QUOTA, "nan", "1"), (LABEL_CPU_QUOTA, "1_0", "1"),
        (LABEL_CPU_QUOTA, "", "1"), (LABEL_CPU_QUOTA, "0.0", "1"), (LABEL_MEMORY, "plenty", "512 MiB"),
        (LABEL_MEMORY, "0", "512 MiB"), (LABEL_MEMORY, "-1", "512 MiB"), (LABEL_PIDS_LIMIT, "-1", "512"),
        (LABEL_PIDS_LIMIT, "0", "512"), (LABEL_PIDS_LIMIT, "1.5", "512"), (LABEL_PIDS_LIMIT, "9" * 5000, "512"),
    ],
)  # fmt: skip
def test_a_label_that_cannot_be_read_falls_back_with_a_warning(label: str, text: str, default: str) -> None:
    limits, warnings = limits_from_labels({label: text}, DEFAULTS, CEILINGS)

    assert limits == DEFAULTS
    [warning] = warnings
    assert f"image label {label}={text[:64]!r} is ignored" in warning
    assert f"the limit is {default}, from RTMANAGER_DEFAULT_" in warning


@pytest.mark.parametrize(
    ("label", "text", "expected", "warning"),
    [
        (LABEL_CPU_QUOTA, "8", Limits(2.0, 512 * MIB, 512),
         f"image label com.galaxy.cpu_quota='8' is reduced to the ceiling 2 ({HAS}CPU_QUOTA)"),
        (LABEL_MEMORY, "1000g", Limits(1.0, 4096 * MIB, 512),
         f"image label com.galaxy.memory='1000g' is reduced to the ceiling 4096 MiB ({HAS}MEMORY)"),
        (LABEL_PIDS_LIMIT, "5000000", Limits(1.0, 512 * MIB, 4096),
         "image label com.galaxy.pids_limit='5000000' is reduced to the ceiling 4096 (RTMANAGER_MAX_PIDS_LIMIT)"),
        (LABEL_CPU_QUOTA, "0.001", Limits(0.01, 512 * MIB, 512),
         "image label com.galaxy.cpu_quota='0.001' is raised to 0.01, the minimum with which a container starts"),
        (LABEL_MEMORY, "1m", Limits(1.0, 6 * MIB, 512),
         "image label com.galaxy.memory='1m' is raised to 6 MiB, the minimum with which a container starts"),
        (LABEL_PIDS_LIMIT, "1", Limits(1.0, 512 * MIB, 2),
         "image label com.galaxy.pids_limit='1' is raised to 2, the minimum with which a container starts"),
    ],
)  # fmt: skip
def test_a_label_out_of_range_is_bounded_with_a_warning_that_names_label_value_and_bound(
    label: str, text: str, expected: Limits, warning: str
) -> None:
    assert limits_from_labels({label: text}, DEFAULTS, CEILINGS) == (expected, [warning])


def test_a_configured_maximum_takes_the_place_of_what_the_host_has() -> None:
    configured = MaxLimits(cpu_quota=1.5, memory_bytes=1024 * MIB, pids_limit=1000)
    labels = {LABEL_CPU_QUOTA: "8", LABEL_MEMORY: "1000g", LABEL_PIDS_LIMIT: "5000"}

    limits, warnings = limits_from_labels(labels, DEFAULTS, ceilings_of(configured, DEFAULTS, HOST))

    assert limits == Limits(1.5, 1024 * MIB, 1000)
    assert [warning.rpartition("(")[2] for warning in warnings] == [
        "RTMANAGER_MAX_CPU_QUOTA)", "RTMANAGER_MAX_MEMORY)", "RTMANAGER_MAX_PIDS_LIMIT)",
    ]  # fmt: skip


def test_docker_takes_no_more_cpus_than_the_host_has_whatever_is_configured() -> None:
    ceilings = ceilings_of(MaxLimits(cpu_quota=16.0), DEFAULTS, HOST)

    limits, _warnings = limits_from_labels({LABEL_CPU_QUOTA: "8"}, DEFAULTS, ceilings)

    assert limits.cpu_quota == 2


def test_a_default_of_many_processes_is_no_less_than_its_ceiling() -> None:
    ceilings = ceilings_of(MaxLimits(), Limits(1.0, 512 * MIB, 10_000), None)

    assert ceilings["pids_limit"].value == 10_000


@pytest.mark.parametrize(
    ("labels", "is_needed"),
    [
        ({}, False),
        ({LABEL_CPU_QUOTA: "1.0", LABEL_MEMORY: "512m", LABEL_PIDS_LIMIT: "5000"}, False),
        ({LABEL_CPU_QUOTA: "much"}, False),
        ({LABEL_CPU_QUOTA: "1.5"}, True),
        ({LABEL_MEMORY: "513m"}, True),
    ],
)
def test_the_host_matters_for_labels_above_the_default_alone(labels: dict[str, str], is_needed: bool) -> None:  # noqa: FBT001
    assert exceeds_defaults(labels, DEFAULTS) is is_needed


@pytest.mark.parametrize(
    ("labels", "value", "origin", "advice"),
    [
        ({}, 512 * MIB, "RTMANAGER_DEFAULT_MEMORY",
         "raise RTMANAGER_DEFAULT_MEMORY, or give the image the label com.galaxy.memory"),
        ({LABEL_MEMORY: "64m"}, 64 * MIB, "image label com.galaxy.memory='64m'",
         "raise the image label com.galaxy.memory='64m'"),
        ({LABEL_MEMORY: "1000g"}, 4096 * MIB, "image label com.galaxy.memory='1000g', reduced to RTMANAGER_MAX_MEMORY",
         "raise RTMANAGER_MAX_MEMORY, which reduced image label com.galaxy.memory='1000g'"),
        ({LABEL_MEMORY: "1m"}, 6 * MIB, "image label com.galaxy.memory='1m', raised to the minimum",
         "raise the image label com.galaxy.memory='1m'"),
        ({LABEL_MEMORY: "x"}, 512 * MIB,
         "RTMANAGER_DEFAULT_MEMORY, as image label com.galaxy.memory='x' is invalid",
         "raise RTMANAGER_DEFAULT_MEMORY, or give the image the label com.galaxy.memory"),
    ],
)  # fmt: skip
def test_a_limit_is_described_with_the_label_or_setting_that_decides_it(
    labels: dict[str, str], value: int, origin: str, advice: str
) -> None:
    assert origin_of("memory_bytes", labels, value) == origin
    assert raise_advice("memory_bytes", labels, value) == advice
    assert describe_limit("memory_bytes", labels, value) == f"memory limit {value // MIB} MiB from {origin}"


def test_defaults_that_the_host_cannot_give_are_named() -> None:
    assert list(beyond_host(DEFAULTS, HOST)) == []
    assert list(beyond_host(Limits(4.0, 8192 * MIB, 512), HOST)) == [
        "RTMANAGER_DEFAULT_CPU_QUOTA is 4, the Docker host has 2 CPUs",
        "RTMANAGER_DEFAULT_MEMORY is 8192 MiB, the Docker host has 4096 MiB",
    ]


_values = (
    st.text() | st.decimals(0, 10**12, places=2).map(str) | st.sampled_from(["1000g", "8", "1", "0.001", "9" * 19])
)
_maxima = st.builds(
    MaxLimits,
    cpu_quota=st.none() | st.floats(1, 64),
    memory_bytes=st.none() | st.integers(512 * MIB, 2**40),
    pids_limit=st.none() | st.integers(512, 4_194_304),
)
_hosts = st.none() | st.builds(HostCapacity, cpus=st.integers(1, 256), memory_bytes=st.integers(512 * MIB, 2**42))


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from([LABEL_CPU_QUOTA, LABEL_MEMORY, LABEL_PIDS_LIMIT]), _values), _maxima, _hosts
)  # fmt: skip
def test_limits_are_in_range_for_any_label_and_each_change_has_a_warning(
    labels: dict[str, str], configured: MaxLimits, host: HostCapacity | None
) -> None:
    ceilings: Ceilings = ceilings_of(configured, DEFAULTS, host)

    limits, warnings = limits_from_labels(labels, DEFAULTS, ceilings)

    assert 0.01 <= limits.cpu_quota <= 9_000_000_000
    assert 6 * MIB <= limits.memory_bytes < 2**63
    assert 2 <= limits.pids_limit <= 4_194_304
    for field, ceiling in ceilings.items():
        assert getattr(limits, field) <= max(ceiling.value, getattr(DEFAULTS, field))
    followed = [label for label in labels if not any(f"image label {label}=" in warning for warning in warnings)]
    for label in followed:
        field = {LABEL_CPU_QUOTA: "cpu_quota", LABEL_MEMORY: "memory_bytes", LABEL_PIDS_LIMIT: "pids_limit"}[label]
        assert origin_of(field, labels, getattr(limits, field)) == f"image label {label}={labels[label][:64]!r}"
    assert len(warnings) == len(labels) - len(followed)

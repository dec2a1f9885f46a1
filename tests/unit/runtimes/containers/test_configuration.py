"""Differences of a container from its specification: none in Docker's own notation, and each change has its kind."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.container_spec import LOG_DRIVERS, ContainerPolicy, ContainerSpec, Limits, build_spec
from runtimes.containers.configuration import ConfigurationKind, differences, fields_of
from runtimes.containers.docker.payloads import expected_inspection

Raw = dict[str, Any]


def spec(
    *, limits: Limits | None = None, read_only: bool = True, user: str = "", stop_grace_seconds: int = 30
) -> ContainerSpec:  # fmt: skip
    allowed = limits or Limits(cpu_quota=0.5, memory_bytes=64 * 1024**2, pids_limit=32)
    policy = ContainerPolicy(
        stack="default",
        network="galaxy-net",
        state_root="/srv/games",
        state_mount_path="/var/lib/galaxy-game",
        state_env_name="GAME_STATE_PATH",
        default_limits=allowed,
        read_only=read_only,
        user=user,
        stop_grace_seconds=stop_grace_seconds,
    )
    return build_spec(
        policy, game_id="g-42", image_ref="engine:1.0.0", limits=allowed, operation_id=7, fence=1, started_at_ms=1
    )


SPECS = st.builds(
    spec,
    limits=st.builds(
        Limits,
        cpu_quota=st.floats(0.01, 64),
        memory_bytes=st.integers(6 * 1024**2, 2**40),
        pids_limit=st.integers(1, 2**20),
    ),
    read_only=st.booleans(),
    user=st.sampled_from(["", "1000", "1000:1000"]),
    stop_grace_seconds=st.integers(0, 600),
)


def host(name: str, value: Any) -> Callable[[Raw], None]:
    return lambda raw: raw["HostConfig"].update({name: value})


def config(name: str, value: Any) -> Callable[[Raw], None]:
    return lambda raw: raw["Config"].update({name: value})


# Ways in which daemons write down the very same container.
SAME: dict[str, Callable[[Raw], None]] = {
    "null for nothing": host("CapAdd", None),
    "a prefix of the capability": host("CapDrop", ["CAP_ALL"]),
    "no value of the security option": host("SecurityOpt", ["no-new-privileges"]),
    "no name for no restarts": host("RestartPolicy", {"Name": "", "MaximumRetryCount": 0}),
    "modes of namespaces": lambda raw: raw["HostConfig"].update(IpcMode="private", PidMode="", CgroupnsMode="host"),
    "default shares": host("CpuShares", 1024),
    "no swappiness": host("MemorySwappiness", None),
    "exposed ports without a binding": host("PortBindings", {"8080/tcp": None}),
    "the daemon's own ulimits": lambda raw: raw["HostConfig"]["Ulimits"].append(
        {"Name": "memlock", "Soft": -1, "Hard": -1}
    ),
    "the daemon's own log options": lambda raw: raw["HostConfig"].update(
        LogConfig={
            "Type": "local",
            "Config": {**raw["HostConfig"]["LogConfig"]["Config"], "tag": "x"},
        }
    ),
    "variables of the image": lambda raw: raw["Config"]["Env"].extend(["PATH=/bin", "TOKEN=secret"]),
    "a slash behind the mount": lambda raw: raw["Mounts"][0].update(Destination="/var/lib/galaxy-game/"),
}

CHANGES: dict[str, tuple[Callable[[Raw], None], ConfigurationKind]] = {
    "restart_policy": (host("RestartPolicy", {"Name": "always"}), ConfigurationKind.RESTART_POLICY),
    "privileged": (host("Privileged", value=True), ConfigurationKind.HARDENING),
    "capabilities_added": (host("CapAdd", ["CAP_NET_ADMIN"]), ConfigurationKind.HARDENING),
    "capabilities_dropped": (host("CapDrop", None), ConfigurationKind.HARDENING),
    "security_options": (
        host("SecurityOpt", ["no-new-privileges:true", "seccomp=unconfined"]), ConfigurationKind.HARDENING,
    ),
    "read_only_root": (lambda raw: host("ReadonlyRootfs", not raw["HostConfig"]["ReadonlyRootfs"])(raw),
                       ConfigurationKind.HARDENING),
    "tmpfs": (host("Tmpfs", {"/tmp": "rw,exec"}), ConfigurationKind.HARDENING),  # noqa: S108 - inside the container
    "user": (config("User", "4711"), ConfigurationKind.HARDENING),
    "extra_groups": (host("GroupAdd", ["docker"]), ConfigurationKind.HARDENING),
    "shared_namespaces": (host("PidMode", "host"), ConfigurationKind.HARDENING),
    "devices": (host("Devices", [{"PathOnHost": "/dev/kvm"}]), ConfigurationKind.HARDENING),
    "kernel_parameters": (host("Sysctls", {"net.core.somaxconn": 9}), ConfigurationKind.HARDENING),
    "init": (host("Init", None), ConfigurationKind.HARDENING),
    "memory": (host("Memory", 1), ConfigurationKind.LIMITS),
    "memory_and_swap": (host("MemorySwap", -1), ConfigurationKind.LIMITS),
    "memory_reservation": (host("MemoryReservation", 1024), ConfigurationKind.LIMITS),
    "cpus": (lambda raw: raw["HostConfig"].update(NanoCpus=0, CpuQuota=-1), ConfigurationKind.LIMITS),
    "cpu_shares": (host("CpuShares", 2), ConfigurationKind.LIMITS),
    "cpu_set": (host("CpusetCpus", "0"), ConfigurationKind.LIMITS),
    "processes": (host("PidsLimit", None), ConfigurationKind.LIMITS),
    "block_io_weight": (host("BlkioWeight", 10), ConfigurationKind.LIMITS),
    "oom_score": (host("OomScoreAdj", 0), ConfigurationKind.LIMITS),
    "oom_kill_disabled": (host("OomKillDisable", value=True), ConfigurationKind.LIMITS),
    "ulimits": (host("Ulimits", [{"Name": "nofile", "Soft": 9, "Hard": 9}]), ConfigurationKind.LIMITS),
    "networks": (
        lambda raw: raw["NetworkSettings"].update(Networks={"galaxy-net": {}, "bridge": {}}),
        ConfigurationKind.NETWORKS,
    ),
    "published_ports": (host("PortBindings", {"8080/tcp": [{"HostPort": "80"}]}), ConfigurationKind.PORTS),
    "mounts": (
        lambda raw: raw["Mounts"].append({"Type": "bind", "Source": "/", "Destination": "/host", "RW": False}),
        ConfigurationKind.MOUNTS,
    ),
    "name": (lambda raw: raw.update(Name="/keep"), ConfigurationKind.NAME),
    "host_name": (config("Hostname", "keep"), ConfigurationKind.NAME),
    "environment": (config("Env", ["STORAGE_PATH=/elsewhere"]), ConfigurationKind.ENVIRONMENT),
    "log_driver": (
        lambda raw: raw["HostConfig"].update(LogConfig={**raw["HostConfig"]["LogConfig"], "Type": "journald"}),
        ConfigurationKind.LOGGING,
    ),
    "log_options": (host("LogConfig", {"Type": "local", "Config": {"max-size": "9m"}}), ConfigurationKind.LOGGING),
    "stop_timeout_seconds": (config("StopTimeout", 4711), ConfigurationKind.STOPPING),
}  # fmt: skip


def inspected(wanted: ContainerSpec) -> Raw:
    raw = copy.deepcopy(expected_inspection(wanted))
    raw["Config"].setdefault("User", "")
    return raw


def test_there_is_a_change_for_every_field() -> None:
    assert set(CHANGES) == {name for fields in fields_of({}).values() for name in fields}


@given(SPECS, st.sets(st.sampled_from(sorted(SAME))))
def test_what_rtm_creates_has_no_difference_however_the_daemon_writes_it_down(
    wanted: ContainerSpec, ways: set[str]
) -> None:  # fmt: skip
    raw = inspected(wanted)
    for way in sorted(ways):
        SAME[way](raw)

    assert differences(raw, wanted, image_user="") == ()


@given(SPECS, st.sampled_from(sorted(CHANGES)))
def test_each_change_is_one_difference_of_its_kind_and_field(wanted: ContainerSpec, name: str) -> None:
    raw = inspected(wanted)
    change, kind = CHANGES[name]
    change(raw)

    (one,) = differences(raw, wanted, image_user="")

    assert (one.kind, one.field) == (kind, name)
    assert one.in_force != one.wanted
    assert one.in_force
    assert one.wanted


def test_the_most_important_kind_comes_first() -> None:
    raw = inspected(spec())
    for change, _kind in CHANGES.values():
        change(raw)

    kinds = [one.kind for one in differences(raw, spec(), image_user="")]

    assert list(dict.fromkeys(kinds)) == list(ConfigurationKind)


def test_the_user_of_the_image_is_wanted_where_no_setting_names_one() -> None:
    raw = inspected(spec())
    raw["Config"]["User"] = "node"

    assert differences(raw, spec(), image_user="node") == ()
    assert [one.field for one in differences(raw, spec(), image_user="")] == ["user"]
    assert [one.in_force for one in differences(raw, spec(user="1000"), image_user="node")] == ["node"]


def test_a_user_is_not_compared_with_an_image_that_is_gone() -> None:
    raw = inspected(spec())
    raw["Config"]["User"] = "node"

    assert differences(raw, spec(), image_user=None) == ()


def test_a_value_is_shown_in_its_unit_with_what_decides_it() -> None:
    raw = inspected(spec())
    raw["HostConfig"].update(Memory=512 * 1024**2, NanoCpus=0, PidsLimit=-1)

    shown = {one.field: (one.in_force, one.wanted) for one in differences(raw, spec())}

    assert shown == {"memory": ("512 MiB", "64 MiB"), "cpus": ("unlimited", "0.5"), "processes": ("unlimited", "32")}
    assert "RTMANAGER_DEFAULT_MEMORY" in differences(raw, spec())[0].decided_by


def test_a_quota_for_a_period_is_the_same_as_cpus() -> None:
    raw = inspected(spec())
    raw["HostConfig"].update(NanoCpus=0, CpuQuota=50_000, CpuPeriod=100_000)

    assert differences(raw, spec()) == ()


@pytest.mark.parametrize("secret", ["TOKEN=secret"])
def test_variables_of_others_are_never_shown(secret: str) -> None:
    raw = inspected(spec())
    raw["Config"]["Env"] = [secret]

    assert not any("secret" in f"{one.in_force}{one.wanted}" for one in differences(raw, spec()))


def test_a_long_value_is_cut() -> None:
    raw = inspected(spec())
    raw["HostConfig"]["SecurityOpt"].append(f"seccomp={'x' * 5000}")

    (one,) = differences(raw, spec())

    assert len(one.in_force) < 250


@pytest.mark.parametrize("in_force", LOG_DRIVERS)
def test_each_log_driver_of_the_automatic_choice_is_as_wanted_and_no_other_one(in_force: str) -> None:
    raw = inspected(replace(spec(), log_driver=in_force))
    other = replace(spec(), log_driver=next(driver for driver in LOG_DRIVERS if driver != in_force))

    assert differences(raw, spec(), image_user="") == ()
    difference = differences(raw, other, image_user="")[0]
    assert (difference.in_force, difference.wanted) == (in_force, other.log_driver)
    assert difference.decided_by == "RTMANAGER_CONTAINER_LOG_DRIVER"

"""Which create requests are accepted: those that RTM writes, and no others."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from runtimes.container_spec import LOG_DRIVERS, ContainerPolicy, ContainerSpec, Limits, MaxLimits, build_spec
from runtimes.containers.docker.payloads import create_request
from runtimes.containers.types import HostCapacity
from runtimes.exceptions import InvalidRequestError
from runtimes.gateway.calls import CallRefusedError, Reason
from runtimes.gateway.create_rules import CreateRules, check_new_name
from runtimes.storage.image_volumes import plan_volumes
from tests import gateway_policy

POLICY = replace(gateway_policy.POLICY, user="1000:1000")
RULES = CreateRules(POLICY)
IMAGE_ID = f"sha256:{'a' * 64}"


def spec_of(policy: ContainerPolicy = POLICY, **changes: Any) -> ContainerSpec:
    values: dict[str, Any] = {
        "game_id": "g1",
        "image_ref": "registry.example/game:1.0.0",
        "limits": policy.default_limits,
        "operation_id": 7,
        "job_key": "rest:req-1",
        "fence": 3,
        "started_at_ms": 1_700_000_000_000,
    }
    return build_spec(policy, **{**values, **changes})


def body_of(spec: ContainerSpec) -> bytes:
    return json.dumps(create_request(spec)).encode()


def refused(body: object, *, name: str = "galaxy-game-g1", rules: CreateRules = RULES) -> str:
    """The message of the refusal."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(CallRefusedError) as refusal:
        rules.parse(name, raw)
    assert refusal.value.reason in {Reason.CONTAINER_SPEC, Reason.IMAGE}
    return refusal.value.message


@pytest.mark.parametrize(
    "spec",
    [
        spec_of(),
        spec_of(image=IMAGE_ID),
        spec_of(image_ref="abc123", image=IMAGE_ID),
        spec_of(image_ref=IMAGE_ID),
        spec_of(image_ref="game"),
        spec_of(limits=Limits(0.01, 6 * 2**20, 2)),
        spec_of(limits=Limits(1.5, 2**33, 4096)),
        spec_of(
            volumes=plan_volumes(
                ["/data", "/var/lib", "/var/lib/galaxy-game/saves/auto"], mount_path=POLICY.state_mount_path
            )
        ),
        spec_of(volumes=plan_volumes(["/data"], mount_path=POLICY.state_mount_path)),
        *(spec_of(replace(POLICY, log_driver=driver)) for driver in LOG_DRIVERS),
    ],
)
def test_what_rtm_writes_is_accepted_as_it_is(spec: ContainerSpec) -> None:
    accepted = RULES.parse(spec.name, body_of(spec))

    assert create_request(accepted) == create_request(spec)


def _set(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        part: Any = body
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = value

    return change


def _add(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        part: Any = body
        for key in path:
            part = part[key]
        part.append(value)

    return change


ROOT_MOUNT = {"Type": "bind", "Source": "/", "Target": "/host", "ReadOnly": False}
CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "privileged": _set("HostConfig", "Privileged", value=True),
    "privileged in another case": _set("HostConfig", "privileged", value=True),
    "host config in another case": _set("hostconfig", value={"Privileged": True}),
    "added capabilities": _set("HostConfig", "CapAdd", value=["SYS_ADMIN"]),
    "fewer dropped capabilities": _set("HostConfig", "CapDrop", value=["NET_RAW"]),
    "no dropped capabilities": _set("HostConfig", "CapDrop", value=[]),
    "devices": _set("HostConfig", "Devices", value=[{"PathOnHost": "/dev/sda"}]),
    "device rules": _set("HostConfig", "DeviceCgroupRules", value=["a *:* rwm"]),
    "host process namespace": _set("HostConfig", "PidMode", value="host"),
    "host ipc namespace": _set("HostConfig", "IpcMode", value="host"),
    "host uts namespace": _set("HostConfig", "UTSMode", value="host"),
    "host user namespace": _set("HostConfig", "UsernsMode", value="host"),
    "host cgroup namespace": _set("HostConfig", "CgroupnsMode", value="host"),
    "cgroup parent": _set("HostConfig", "CgroupParent", value="/"),
    "host network": _set("HostConfig", "NetworkMode", value="host"),
    "network of a container": _set("HostConfig", "NetworkMode", value="container:postgres"),
    "second network": _set("NetworkingConfig", "EndpointsConfig", "other", value={}),
    "network alias": _set("NetworkingConfig", "EndpointsConfig", "galaxy-net", value={"Aliases": ["postgres"]}),
    "published port": _set("HostConfig", "PortBindings", value={"8080/tcp": [{"HostPort": "80"}]}),
    "all ports published": _set("HostConfig", "PublishAllPorts", value=True),
    "no security options": _set("HostConfig", "SecurityOpt", value=[]),
    "unconfined": _add("HostConfig", "SecurityOpt", value="seccomp=unconfined"),
    "other runtime": _set("HostConfig", "Runtime", value="kata"),
    "binds": _set("HostConfig", "Binds", value=["/:/host"]),
    "root mounted": _add("HostConfig", "Mounts", value=ROOT_MOUNT),
    "socket mounted": _add("HostConfig", "Mounts", value={**ROOT_MOUNT, "Source": "/var/run/docker.sock"}),
    "state of another game": _set("HostConfig", "Mounts", 0, "Source", value="/srv/games/g2"),
    "the whole state root": _set("HostConfig", "Mounts", 0, "Source", value="/srv/games"),
    "path out of the root": _set("HostConfig", "Mounts", 0, "Source", value="/srv/games/g1/../.."),
    "path that ends in a dot": _set("HostConfig", "Mounts", 0, "Source", value="/srv/games/g1/."),
    "path with two slashes": _set("HostConfig", "Mounts", 0, "Source", value="/srv/games//g1"),
    "volume instead of a directory": _set("HostConfig", "Mounts", 0, "Type", value="volume"),
    "mount propagation": _set("HostConfig", "Mounts", 0, "BindOptions", value={"Propagation": "rshared"}),
    "volume directory out of the state": _add(
        "HostConfig", "Mounts", value={**ROOT_MOUNT, "Source": "/srv/games/g1/../g2", "Target": "/data"}
    ),
    "volume on proc": _add(
        "HostConfig", "Mounts", value={**ROOT_MOUNT, "Source": "/srv/games/g1/.volumes/proc", "Target": "/proc"}
    ),
    "volumes without the read-only parent": _add(
        "HostConfig", "Mounts", value={**ROOT_MOUNT, "Source": "/srv/games/g1/.volumes/data", "Target": "/data"}
    ),
    "volumes from": _set("HostConfig", "VolumesFrom", value=["postgres"]),
    "anonymous volume": _set("Volumes", value={"/data": {}}),
    "writable root": _set("HostConfig", "ReadonlyRootfs", value=False),
    "other tmpfs": _set("HostConfig", "Tmpfs", value={"/tmp": "exec"}),  # noqa: S108
    "root user": _set("User", value="0"),
    "no init": _set("HostConfig", "Init", value=False),
    "no memory limit": _set("HostConfig", "Memory", value=0),
    "swap": _set("HostConfig", "MemorySwap", value=-1),
    "no process limit": _set("HostConfig", "PidsLimit", value=-1),
    "no process limit at all": _set("HostConfig", "PidsLimit", value=0),
    "too many processes": _set("HostConfig", "PidsLimit", value=4097),
    "no cpu limit": _set("HostConfig", "NanoCpus", value=0),
    "cpus as a fraction": _set("HostConfig", "NanoCpus", value=1e9),
    "cpus as truth": _set("HostConfig", "NanoCpus", value=True),
    "cpus as a text": _set("HostConfig", "NanoCpus", value="1"),
    "cpus beyond measure": _set("HostConfig", "NanoCpus", value=10**400),
    "one cpu share": _set("HostConfig", "CpuShares", value=1),
    "oom killer off": _set("HostConfig", "OomKillDisable", value=True),
    "oom score": _set("HostConfig", "OomScoreAdj", value=-1000),
    "no ulimits": _set("HostConfig", "Ulimits", value=[]),
    "sysctls": _set("HostConfig", "Sysctls", value={"kernel.msgmax": "1"}),
    "unbounded log": _set("HostConfig", "LogConfig", value={"Type": "json-file"}),
    "log to another host": _set("HostConfig", "LogConfig", value={"Type": "syslog"}),
    "restart policy": _set("HostConfig", "RestartPolicy", value={"Name": "always"}),
    "auto remove": _set("HostConfig", "AutoRemove", value=True),
    "more environment": _add("Env", value="LD_PRELOAD=/x"),
    "other environment": _set("Env", 0, value="STORAGE_PATH=/"),
    "command": _set("Cmd", value=["sh"]),
    "entry point": _set("Entrypoint", value=["sh"]),
    "other host name": _set("Hostname", value="galaxy-game-g2"),
    "domain name": _set("Domainname", value="x"),
    "health check": _set("Healthcheck", value={"Test": ["CMD-SHELL", "x"]}),
    "stop signal": _set("StopSignal", value="SIGWINCH"),
    "other stop timeout": _set("StopTimeout", value=31),
    "stop timeout as a fraction": _set("StopTimeout", value=30.0),
    "terminal": _set("Tty", value=True),
    "other stack": _set("Labels", "com.galaxy.stack", value="two"),
    "other owner": _set("Labels", "com.galaxy.owner", value="me"),
    "other kind": _set("Labels", "com.galaxy.kind", value="x"),
    "more labels": _set("Labels", "traefik.enable", value="true"),
    "label as a number": _set("Labels", "com.galaxy.fence", value=3),
    "fence with a zero": _set("Labels", "com.galaxy.fence", value="03"),
    "fence of other digits": _set("Labels", "com.galaxy.fence", value="\u0663"),
    "control characters": _set("Labels", "com.galaxy.job_key", value="a\nb"),
    "long job key": _set("Labels", "com.galaxy.job_key", value="a" * 256),
    "game id of another form": _set("Labels", "com.galaxy.game_id", value="../g1"),
    "game id of another game": _set("Labels", "com.galaxy.game_id", value="g2"),
    "image that the label does not name": _set("Image", value="attacker.example/x:1"),
    "image without a tag": _set("Image", value="registry.example/game"),
    "short image id": _set("Image", value="a" * 12),
    "labels as a list": _set("Labels", value=["com.galaxy.stack=one"]),
    "no host config": _set("HostConfig", value=None),
    "mounts as a mapping": _set("HostConfig", "Mounts", value={}),
    "no mounts": _set("HostConfig", "Mounts", value=[]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_any_other_request_is_refused(what: str) -> None:
    body = copy.deepcopy(create_request(spec_of()))
    CHANGES[what](body)

    assert refused(body)


@pytest.mark.parametrize("body", [None, [], "x", 1, {}, {"Labels": {}}])
def test_a_body_of_another_form_is_refused(body: object) -> None:
    assert refused(body)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"Init": true', '"Init": true, "Init": true'),
        lambda text: text.replace('"Init": true', '"Privileged": true, "Init": true, "Privileged": false'),
        lambda text: text.replace('"StopTimeout": 30', '"StopTimeout": NaN'),
        lambda text: text + "{}",
        lambda text: text[:-1],
        lambda _text: "[" * 20_000,
        lambda _text: "",
    ],
)
def test_a_body_that_is_no_strict_json_is_refused(change: Callable[[str], str]) -> None:
    with pytest.raises(InvalidRequestError):
        RULES.parse("galaxy-game-g1", change(body_of(spec_of()).decode()).encode())


@pytest.mark.parametrize("raw", [b"\xff", b"\xef\xbb\xbf{}", "{}".encode("utf-16")])
def test_a_body_in_another_encoding_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        RULES.parse("galaxy-game-g1", raw)


@pytest.mark.parametrize("name", ["", "galaxy-game-g2", "galaxy-game-G1", "/galaxy-game-g1", "postgres"])
def test_the_name_is_that_of_the_game(name: str) -> None:
    assert "galaxy-game-g1" in refused(create_request(spec_of()), name=name)


def test_the_message_names_the_setting_that_differs() -> None:
    message = refused(create_request(spec_of(replace(POLICY, network="other-net"))))

    assert "other-net" in message
    assert "RTMANAGER_DOCKER_NETWORK" in message


def test_a_configured_log_driver_is_the_only_one() -> None:
    rules = CreateRules(replace(POLICY, log_driver="json-file"))

    assert "RTMANAGER_CONTAINER_LOG_DRIVER" in refused(create_request(spec_of()), rules=rules)


def test_limits_stay_below_the_configured_maximum_or_the_host() -> None:
    limited = CreateRules(replace(POLICY, max_limits=MaxLimits(2.0, 2**30, 600)))
    for limits in (Limits(2.1, 2**29, 512), Limits(1.0, 2**30 + 1, 512), Limits(1.0, 2**29, 601)):
        assert "the limit" in refused(create_request(spec_of(limits=limits)), rules=limited)

    large = spec_of(limits=Limits(1.0, 2**33, 512))
    with pytest.raises(CallRefusedError, match="memory_bytes"):
        RULES.parse(large.name, body_of(large), HostCapacity(cpus=2, memory_bytes=2**32))
    # A default beyond the host is the choice of the operator; the doctor reports it.
    default = replace(POLICY, default_limits=Limits(1.0, 2**33, 512))
    assert CreateRules(default).parse(large.name, body_of(large), HostCapacity(cpus=2, memory_bytes=2**32))


@pytest.mark.parametrize("image", ["", IMAGE_ID])
def test_only_images_of_the_allowed_registries_are_accepted(image: str) -> None:
    rules = CreateRules(POLICY, ("registry.example/team/*",))
    allowed = spec_of(image_ref="registry.example/team/game:1.0.0", image=image)

    assert rules.parse(allowed.name, body_of(allowed)).image == allowed.image
    assert "RTMANAGER_ALLOWED_REGISTRIES" in refused(create_request(spec_of(image=image)), rules=rules)


@pytest.mark.parametrize(("name", "game_id"), [("galaxy-game-g2", "g1"), ("postgres", "g1"), ("galaxy-game-", "")])
def test_a_container_only_gets_the_name_of_its_game(name: str, game_id: str) -> None:
    check_new_name("galaxy-game-g1", "g1")
    with pytest.raises(CallRefusedError):
        check_new_name(name, game_id)

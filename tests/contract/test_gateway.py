"""The Docker gateway and the adapter: the same calls, no more and no fewer; and what happens when one of them ends."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from runtimes.container_spec import LABEL_STACK
from runtimes.containers.base import (
    ContainerStartFailedError,
    ContainersUnavailableError,
    DockerPort,
    DockerRefusedError,
    ImagePullFailedError,
)
from runtimes.containers.docker.adapter import DockerAdapter
from runtimes.gateway.calls import ROUTES, Call, Role, parse_request
from runtimes.gateway.create_rules import CreateRules
from tests.contract.container_backends import Lab, container_policy
from tests.servers.docker_gate import opened_gate
from tests.servers.docker_gateway import RunningGateway, running_gateway
from tests.servers.docker_recorder import docker_recorder
from tests.servers.sandbox import Playground
from tests.servers.waiting import wait_for

READS: dict[str, Callable[[DockerPort, Lab, str], object]] = {
    "ping": lambda docker, _lab, _id: docker.ping(),
    "docker_info": lambda docker, _lab, _id: docker.docker_info(),
    "daemon_started_at": lambda docker, _lab, _id: docker.daemon_started_at(),
    "host_capacity": lambda docker, _lab, _id: docker.host_capacity(),
    "network_exists": lambda docker, lab, _id: docker.network_exists(lab.network),
    "find": lambda docker, _lab, container: docker.find(container),
    "list_by_ids": lambda docker, _lab, container: docker.list_by_ids([container]),
    "list_owned": lambda docker, lab, _id: docker.list_owned(lab.stack, game_id="g1"),
    "inspect": lambda docker, _lab, container: docker.inspect(container),
    "logs": lambda docker, _lab, container: docker.logs(container, tail=10),
    "follow_logs": lambda docker, _lab, container: docker.follow_logs(container, tail=10).close(),
    "stats": lambda docker, _lab, container: docker.stats(container),
    "events": lambda docker, lab, _id: docker.events(lab.stack, since_ns=1).close(),
    "find_image": lambda docker, lab, _id: docker.find_image(lab.image_refs["healthy"]),
}
WITHOUT_CALLS = {"time_limit", "close"}


def test_the_gateway_accepts_exactly_the_calls_of_the_adapter(real_lab: Lab, gateway: RunningGateway) -> None:
    container_id = real_lab.run()
    spec = real_lab.spec()
    calls: dict[Role, set[Call]] = {}
    for role in Role:
        with (
            TemporaryDirectory(prefix="rtm-calls-") as directory,
            docker_recorder(Path(directory) / "docker.sock", gateway.host(role)) as recorder,
            closing(DockerAdapter(recorder.host)) as docker,
        ):
            for read in READS.values():
                read(docker, real_lab, container_id)
            if role == Role.OPERATE:
                created = docker.create(spec)
                docker.start(created)
                docker.rename(created, spec.name)
                docker.wait_until_exited(created, 0.1)
                docker.stop(created, grace_seconds=0)
                docker.remove(created, grace_seconds=0)
                with pytest.raises(ImagePullFailedError):
                    docker.pull("localhost:1/rtm/no-such-image:1.0.0")
            lines = [line.partition(" ") for line in recorder.requests()]
            calls[role] = {parse_request(role, method, target).call for method, _, target in lines}

    assert calls[Role.OPERATE] == set(Call)
    assert calls[Role.WATCH] == {call for call in Call if ROUTES[call].role == Role.WATCH}
    methods = {name for name in vars(DockerPort) if not name.startswith("_")} - WITHOUT_CALLS
    changes = {"pull", "create", "start", "rename", "wait_until_exited", "stop", "remove"}
    assert methods == {*READS, *changes}


def test_what_the_gateway_shows_of_the_daemon_is_what_rtm_reads(real_lab: Lab, gateway_lab: Lab) -> None:
    shown, direct = gateway_lab.containers.docker_info(), real_lab.containers.docker_info()

    assert replace(shown, now=None) == replace(direct, now=None)
    assert shown.now is not None
    assert gateway_lab.containers.daemon_started_at() == real_lab.containers.daemon_started_at()
    assert gateway_lab.containers.host_capacity() == real_lab.containers.host_capacity()


def test_a_container_that_has_the_name_of_a_game_is_seen_and_cannot_be_changed(gateway_lab: Lab) -> None:
    spec = gateway_lab.spec()
    foreign = replace(spec, labels={**spec.labels, LABEL_STACK: "other"})
    foreign_id = gateway_lab.direct.create(foreign)

    found = gateway_lab.containers.find(spec.name)

    assert found is not None
    assert (found.id, found.name, found.state) == (foreign_id, spec.name, "created")
    assert found.image_ref == spec.image_ref
    assert not found.is_owned_by(gateway_lab.stack)
    changes: list[Callable[[], None]] = [
        lambda: gateway_lab.containers.stop(foreign_id, grace_seconds=0),
        lambda: gateway_lab.containers.remove(foreign_id, grace_seconds=0),
        lambda: gateway_lab.containers.rename(foreign_id, f"{spec.name}-x"),
    ]
    for change in changes:
        with pytest.raises(DockerRefusedError, match="does not belong to stack"):
            change()
    with pytest.raises(ContainerStartFailedError, match="does not belong to stack"):
        gateway_lab.containers.start(foreign_id)
    assert gateway_lab.direct.find(foreign_id) is not None
    gateway_lab.direct.remove(foreign_id, grace_seconds=0)


def test_a_container_of_another_kind_is_not_shown(gateway_lab: Lab, playground: Playground) -> None:
    spec = gateway_lab.spec()
    other = gateway_lab.direct.create(
        replace(spec, name=f"{playground.stack}-other", labels={**spec.labels, LABEL_STACK: "other"})
    )

    for name in (f"{playground.stack}-other", other):
        with pytest.raises(DockerRefusedError, match="does not belong to stack"):
            gateway_lab.containers.find(name)
    gateway_lab.direct.remove(other, grace_seconds=0)


def test_the_watch_socket_changes_nothing(gateway: RunningGateway, real_lab: Lab) -> None:
    container_id = real_lab.run()
    with closing(DockerAdapter(gateway.host(Role.WATCH))) as watcher:
        with pytest.raises(DockerRefusedError, match=r"operate\.sock"):
            watcher.stop(container_id, grace_seconds=0)
        found = watcher.find(container_id)

    assert found is not None
    assert found.is_alive


def test_a_list_by_hundreds_of_ids_fits(gateway_lab: Lab) -> None:
    own = gateway_lab.create()
    ids = [f"{number:064x}" for number in range(1, 800)]

    assert [one.id for one in gateway_lab.containers.list_by_ids([*ids, own])] == [own]


def test_a_client_that_goes_away_ends_the_call_at_docker(
    playground: Playground, real_lab: Lab, docker_host: str
) -> None:
    policy = container_policy(stack=playground.stack, network=playground.network, state_root=playground.state_root)
    container_id = real_lab.run("talkative")
    with (
        TemporaryDirectory(prefix="rtm-gateway-") as directory,
        docker_recorder(Path(directory) / "docker.sock", docker_host) as recorder,
        running_gateway(Path(directory) / "gateway", CreateRules(policy), docker_host=recorder.host) as gateway,
        closing(DockerAdapter(gateway.host(Role.WATCH))) as docker,
    ):
        with (
            closing(docker.follow_logs(container_id)),
            closing(docker.events(real_lab.stack, since_ns=time.time_ns())),
        ):
            wait_for(lambda: len(recorder.open_streams()) == 2, what="both streams to reach Docker")
        wait_for(lambda: not recorder.open_streams(), what="both streams to end at Docker")

    assert recorder.open_streams() == []


def test_without_docker_each_call_says_so_and_works_again_with_it(
    playground: Playground, real_lab: Lab, docker_host: str
) -> None:
    policy = container_policy(stack=playground.stack, network=playground.network, state_root=playground.state_root)
    with (
        TemporaryDirectory(prefix="rtm-gateway-") as directory,
        opened_gate(Path(directory) / "docker.sock", Path(docker_host.removeprefix("unix://"))) as gate,
        running_gateway(Path(directory) / "gateway", CreateRules(policy), docker_host=gate.host) as gateway,
        closing(DockerAdapter(gateway.host(Role.OPERATE))) as docker,
    ):
        container_id = docker.create(real_lab.spec())
        gate.shut()
        calls: list[Callable[[], object]] = [
            docker.ping,
            lambda: docker.find(container_id),
            lambda: docker.start(container_id),
            lambda: docker.create(real_lab.spec()),
            lambda: docker.list_owned(real_lab.stack),
        ]
        for call in calls:
            with pytest.raises(ContainersUnavailableError, match="gateway cannot reach Docker"):
                call()
        gate.open()

        docker.start(container_id)
        found = docker.find(container_id)

    assert found is not None
    assert found.is_alive

"""The backends of the container contract: the fake Docker and a real one."""

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtimes.container_spec import ContainerPolicy, ContainerSpec, Limits, build_spec
from runtimes.containers.base import DockerPort
from runtimes.containers.docker.adapter import DockerAdapter
from runtimes.containers.docker.payloads import create_request
from runtimes.containers.fake.adapter import FakeAdapter, FakeDocker, FakeImage
from tests.servers.engine_images import LIMIT_LABELS
from tests.servers.sandbox import Playground

_numbers = itertools.count(1)

LIMITS = Limits(cpu_quota=0.5, memory_bytes=64 * 1024**2, pids_limit=32)

# Behaviours that the engine images of the tests do not have, each as lines of a Dockerfile.
DERIVED = {
    # A stop signal that every process ignores unless it asks for it.
    "stubborn": "STOPSIGNAL SIGWINCH",
    # The init process starts all right and then finds nothing to run.
    "commandless": 'CMD ["/no/such/program"]',
    "userless": "USER no-such-user",
    # Writes what a test lays into a file of its state directory.
    "talkative": 'CMD ["sh", "-c", "echo ready; echo trouble >&2; cd $GAME_STATE_PATH; : >> said; exec tail -f said"]',
}
VOLUMES = [
    "/data/",
    "/data/sub",
    "/tmp",  # noqa: S108 - a path inside the container
    "/var/lib",
    "/var/lib/galaxy-game",
    "/var/lib/galaxy-game/saves/auto",
    "/x/../y",
    "/no/such/place",
]
DERIVED["voluminous"] = f"VOLUME {json.dumps(VOLUMES)}"
FAKE_IMAGES = {
    "healthy": FakeImage(labels=LIMIT_LABELS),
    "crashing": FakeImage(exit_code=3),
    "stubborn": FakeImage(ignores_sigterm=True),
    "commandless": FakeImage(exit_code=127),
    "userless": FakeImage(refuses_start=True),
    "voluminous": FakeImage(volumes=sorted(VOLUMES)),
    "talkative": FakeImage(log_lines=[("stdout", "ready"), ("stderr", "trouble")]),
}


@dataclass
class Lab:
    """A daemon with known images and one network, and its own stack of containers.

    ``direct`` makes containers that RTM would not make; ``containers`` may be behind a gateway, which refuses them.
    """

    containers: DockerPort
    direct: DockerPort
    unreachable: DockerPort
    network: str
    image_refs: Mapping[str, str]
    state_root: Path
    stack: str
    game_id_prefix: str
    # Lets the program of a talkative container write one line; creates a container whose log is not stored.
    write_log: Callable[[str, str], None]
    create_mute: Callable[[ContainerSpec], str]

    def spec(self, image: str = "healthy", *, game_id: str = "", network: str = "") -> ContainerSpec:
        """A container to create; its state directory exists."""
        game_id = game_id or f"{self.game_id_prefix}-{next(_numbers)}"
        (self.state_root / game_id).mkdir(exist_ok=True)
        policy = container_policy(stack=self.stack, network=network or self.network, state_root=self.state_root)
        image_ref = self.image_refs.get(image, image)
        return build_spec(
            policy,
            game_id=game_id,
            image_ref=image_ref,
            limits=LIMITS,
            operation_id=17,
            fence=4,
            started_at_ms=1_700_000_000_000,
        )

    def create(self, image: str = "healthy") -> str:
        """A created container of this behaviour."""
        return self.containers.create(self.spec(image))

    def run(self, image: str = "healthy") -> str:
        """A started one."""
        container_id = self.create(image)
        self.containers.start(container_id)
        return container_id


def container_policy(*, stack: str, network: str, state_root: Path) -> ContainerPolicy:
    """The policy of a laboratory."""
    return ContainerPolicy(
        stack=stack,
        network=network,
        state_root=str(state_root),
        state_mount_path="/var/lib/galaxy-game",
        state_env_name="GAME_STATE_PATH",
        default_limits=LIMITS,
        read_only=True,
        user="",
        stop_grace_seconds=1,
    )


def fake_lab(state_root: Path) -> Lab:
    """On its own fake Docker."""
    daemon, away = FakeDocker(), FakeDocker()
    away.disconnect()
    daemon.networks.add("lab-net")
    refs = {name: f"lab/{name}:1.0.0" for name in FAKE_IMAGES}

    def create_mute(spec: ContainerSpec) -> str:
        container_id = daemon.add(spec, image=FAKE_IMAGES["healthy"])
        daemon.without_logs.add(container_id)
        return container_id

    daemon.images.update({refs[name]: image for name, image in FAKE_IMAGES.items()})
    return Lab(
        containers=FakeAdapter(daemon),
        direct=FakeAdapter(daemon),
        unreachable=FakeAdapter(away),
        network="lab-net",
        image_refs=refs,
        state_root=state_root,
        stack="lab",
        game_id_prefix="lab",
        write_log=daemon.write_log,
        create_mute=create_mute,
    )


def docker_lab(playground: Playground, image_refs: Mapping[str, str], *, docker_host: str) -> Lab:
    """On the real daemon; the playground clears up."""
    containers = DockerAdapter(docker_host)

    def write_log(container_id: str, line: str) -> None:
        container = containers.find(container_id)
        assert container is not None
        with (playground.state_root / container.game_id / "said").open("a") as said:
            said.write(f"{line}\n")

    def create_mute(spec: ContainerSpec) -> str:
        request = create_request(spec)
        request["HostConfig"]["LogConfig"] = {"Type": "none", "Config": {}}
        answer = playground.client.api.create_container_from_config(request, spec.name)  # type: ignore[no-untyped-call]
        return str(answer["Id"])

    return Lab(
        containers=containers,
        direct=containers,
        unreachable=DockerAdapter(f"unix://{playground.state_root}/no-listener.sock", call_seconds=1),
        network=playground.network,
        image_refs=image_refs,
        state_root=playground.state_root,
        stack=playground.stack,
        game_id_prefix=playground.game_id_prefix,
        write_log=write_log,
        create_mute=create_mute,
    )

"""What the container contract is tried on: one laboratory over the fake engine, one over a real Docker."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtimes.containers.base import Containers
from runtimes.containers.docker import DockerContainers
from runtimes.containers.fake import FakeContainers, FakeEngine, FakeImage
from runtimes.containers.payloads import create_request
from runtimes.specs import ContainerPolicy, ContainerSpec, Limits, build_spec
from tests.servers.engine_images import LIMIT_LABELS
from tests.servers.playground import Playground

_numbers = itertools.count(1)

LIMITS = Limits(cpu_quota=0.5, memory_bytes=64 * 1024**2, pids_limit=32)

# Behaviours that the engine images of the tests do not have, each in the words of a Dockerfile.
DERIVED = {
    # A stop signal that every process ignores unless it asks for it.
    "stubborn": "STOPSIGNAL SIGWINCH",
    # The init process starts all right and then finds nothing to run.
    "commandless": 'CMD ["/no/such/program"]',
    "userless": "USER nobody-of-this-name",
    # Writes what a test lays into a file of its state directory.
    "talkative": 'CMD ["sh", "-c", "echo ready; echo trouble >&2; cd $GAME_STATE_PATH; : >> said; exec tail -f said"]',
}
FAKE_IMAGES = {
    "healthy": FakeImage(labels=LIMIT_LABELS),
    "crashing": FakeImage(exits_with=3),
    "stubborn": FakeImage(ignores_term=True),
    "commandless": FakeImage(exits_with=127),
    "userless": FakeImage(refuses_start=True),
    "talkative": FakeImage(says=[("stdout", "ready"), ("stderr", "trouble")]),
}


@dataclass
class Lab:
    """An engine with known images and one network, and a stack of containers of its own."""

    containers: Containers
    unreachable: Containers
    network: str
    image_refs: Mapping[str, str]
    state_root: Path
    stack: str
    game_id_prefix: str
    # Lets the program of a talkative container write one line; makes a container whose log nobody keeps.
    say: Callable[[str, str], None]
    create_mute: Callable[[ContainerSpec], str]

    def spec(self, image: str = "healthy", *, game_id: str = "", network: str = "") -> ContainerSpec:
        """A container to create; its state directory exists."""
        game_id = game_id or f"{self.game_id_prefix}-{next(_numbers)}"
        (self.state_root / game_id).mkdir(exist_ok=True)
        policy = ContainerPolicy(
            stack=self.stack,
            network=network or self.network,
            state_root=str(self.state_root),
            state_mount_path="/var/lib/galaxy-game",
            state_env_name="GAME_STATE_PATH",
            default_limits=LIMITS,
            read_only=True,
            user="",
            stop_grace_seconds=1,
        )
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


def fake_lab(state_root: Path) -> Lab:
    """On an engine in memory of its own."""
    engine, away = FakeEngine(), FakeEngine()
    away.go_away()
    engine.networks.add("lab-net")
    refs = {name: f"lab/{name}:1.0.0" for name in FAKE_IMAGES}

    def create_mute(spec: ContainerSpec) -> str:
        container_id = engine.add(spec, image=FAKE_IMAGES["healthy"])
        engine.mute.add(container_id)
        return container_id

    engine.images.update({refs[name]: image for name, image in FAKE_IMAGES.items()})
    return Lab(
        containers=FakeContainers(engine),
        unreachable=FakeContainers(away),
        network="lab-net",
        image_refs=refs,
        state_root=state_root,
        stack="lab",
        game_id_prefix="lab",
        say=engine.say,
        create_mute=create_mute,
    )


def docker_lab(playground: Playground, image_refs: Mapping[str, str], *, docker_host: str) -> Lab:
    """On the real engine; the playground clears up."""
    containers = DockerContainers(docker_host)

    def say(container_id: str, line: str) -> None:
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
        unreachable=DockerContainers(f"unix://{playground.state_root}/nobody-listens.sock", call_seconds=1),
        network=playground.network,
        image_refs=image_refs,
        state_root=playground.state_root,
        stack=playground.stack,
        game_id_prefix=playground.game_id_prefix,
        say=say,
        create_mute=create_mute,
    )

"""The container image: what is in it, and that it runs without rights."""

import json

import docker
import pytest
from packaging.utils import canonicalize_name

from deploy.image.build import read_sbom
from rtmanager import __version__
from tests.install.caller_suite import WRITABLE
from tests.meta.test_requirements import locked
from tests.servers.sessions import SESSION_LABELS

# The first test of a session may wait for the build of the image, and of its base.
pytestmark = pytest.mark.timeout(1200)

_LARGEST_BYTES = 300_000_000
_SETTINGS = {"RTMANAGER_SECRET_KEY": "for this test"}


def run(client: docker.DockerClient, image: str, *command: str) -> str:
    """Run a command as the image's own user, without rights, network and a writable file system; its output."""
    output = client.containers.run(
        image, list(command), environment=_SETTINGS, labels=SESSION_LABELS, remove=True, read_only=True,
        cap_drop=["ALL"], security_opt=["no-new-privileges:true"], network_mode="none", tmpfs=WRITABLE,
        stderr=True,
    )  # fmt: skip
    assert isinstance(output, bytes)
    return output.decode()


def test_the_image_is_small_and_declares_what_it_is(docker_client: docker.DockerClient, rtm_image: str) -> None:
    facts = docker_client.images.get(rtm_image).attrs

    assert facts["Size"] <= _LARGEST_BYTES
    assert facts["Config"]["User"] == "10001:10001"
    assert facts["Config"]["Healthcheck"]["Test"] == ["CMD", "healthcheck"]
    assert facts["Config"]["Cmd"] == ["rtmanager", "run_all"]
    assert "8096/tcp" in facts["Config"]["ExposedPorts"]


def test_it_runs_as_an_unprivileged_user_on_a_read_only_file_system(
    docker_client: docker.DockerClient, rtm_image: str
) -> None:
    script = "id -u && rtm --version && rtmanager check && python -c 'import opentelemetry.exporter.otlp.proto.http'"

    lines = run(docker_client, rtm_image, "sh", "-ec", script).splitlines()

    assert lines[:2] == ["10001", f"rtm {__version__}"]
    assert "no issues" in lines[-1]


@pytest.mark.parametrize("module", ["pip", "setuptools", "pytest"])
def test_it_cannot_install_or_test_anything(docker_client: docker.DockerClient, rtm_image: str, module: str) -> None:
    found = run(docker_client, rtm_image, "python", "-c", f"import importlib.util as u; print(u.find_spec('{module}'))")

    assert found.strip() == "None"


def test_its_list_of_components_names_every_package_with_its_version(
    docker_client: docker.DockerClient, rtm_image: str
) -> None:
    listed = json.loads(read_sbom(docker_client, rtm_image))
    components = {str(canonicalize_name(item["name"])): item["version"] for item in listed["components"]}
    wanted = {name: version for name, (version, _hashes) in locked("deploy/requirements/traces.txt").items()}

    assert listed["bomFormat"] == "CycloneDX"
    assert {name: version for name, version in wanted.items() if components.get(name) != version} == {}

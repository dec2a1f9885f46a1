"""What is handed out to be installed: the wheel and the container image, built from the working tree."""

import fcntl
import subprocess
import sys
from pathlib import Path

import docker
import pytest

from deploy.image.base import find_base
from deploy.image.build import build_image
from deploy.local.workspace import CACHE, CLONE, workspace_of
from tests.servers.working_copy import copy_project


@pytest.fixture(scope="session")
def project_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the project without its environment: a build writes beside its sources."""
    copy = tmp_path_factory.mktemp("project") / "rtmanager"
    copy_project(copy)
    return copy


@pytest.fixture(scope="session")
def wheel(project_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel. The locked setuptools of the development environment builds it."""
    folder = tmp_path_factory.mktemp("dist")
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(project_copy)]
    done = subprocess.run([sys.executable, "-m", "pip", *build], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def rtm_image(docker_client: docker.DockerClient, docker_host: str) -> str:
    """The container image of the working tree. One test process builds it, the others find it built."""
    CACHE.mkdir(parents=True, exist_ok=True)
    tag = f"rtmanager-test:{workspace_of('test').identity}"
    with (CACHE / "rtm-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Docker's cache makes the second build a matter of seconds.
        build_image(docker_client, CLONE, tag, base=find_base(docker_client, docker_host))
    return tag

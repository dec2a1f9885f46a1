"""The image of the sample engine, built by a real Docker."""

from pathlib import Path

import docker
import pytest

from deploy.local.docker import sample_images
from deploy.local.docker.sample_images import build_engine
from deploy.local.system.errors import LocalError
from tests.servers.sessions import SESSION_ID, SESSION_LABELS

_TAG = f"rtm-test-sample-{SESSION_ID}:1.0.0"
_NO_REGISTRY = "127.0.0.1:9/no-such-image:1"


def test_the_sample_engine_is_built_from_the_static_busybox_of_this_machine(docker_client: docker.DockerClient) -> None:
    built = build_engine(docker_client, _TAG, labels=SESSION_LABELS)

    assert docker_client.images.get(_TAG).id == built
    answer = docker_client.containers.run(_TAG, ["id", "-u"], remove=True, network_mode="none", labels=SESSION_LABELS)
    assert answer == b"0\n"


def test_without_busybox_and_registry_one_message_says_what_to_install(
    docker_client: docker.DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_images, "find_busybox", lambda _cache: None)
    monkeypatch.setattr(sample_images, "_PUBLIC_BASE", _NO_REGISTRY)
    monkeypatch.setattr(sample_images, "CACHE", tmp_path)

    with pytest.raises(LocalError, match="apt-get install busybox-static") as refused:
        build_engine(docker_client, _TAG)

    assert "\n" not in str(refused.value)
    # A traceback would show what Docker answered: it is kept aside.
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    assert (tmp_path / "docker-build.log").read_text() != ""

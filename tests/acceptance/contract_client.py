"""What the tests of the contract share: images of other versions, the removal of a container, how a refusal is read."""

import io

import docker
import httpx

from tests.servers.service import Service

API = "/api/v1/internal"


def derive(client: docker.DockerClient, image_ref: str, tag: str, *lines: str) -> str:
    """Another image of the same repository, by a Dockerfile of these lines on top of one that is there."""
    reference = f"{image_ref.rpartition(':')[0]}:{tag}"
    dockerfile = "\n".join([f"FROM {image_ref}", *lines])
    client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=reference, rm=True, forcerm=True)
    return reference


def verdict(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, in exactly the envelope of the contract."""
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert body["error"]["message"]
    return answer.status_code, body["error"]["code"]


def cleanup(service: Service, game_id: str) -> httpx.Response:
    return service.client.delete(f"{API}/runtimes/{game_id}/container")

"""Builds the container image from a clone, and reads its list of components."""

import io
import os
import tarfile
from pathlib import Path

import docker
from docker.errors import BuildError

from deploy.local.system.errors import LocalError

SBOM = "/opt/rtmanager/sbom.cdx.json"
_LAST_LINES = 25


def build_image(
    client: docker.DockerClient, clone: Path, tag: str, *, base: str, labels: dict[str, str] | None = None
) -> str:
    """Build the Dockerfile of ``clone`` on ``base``; return the image id. Raises LocalError with the end of the log."""
    proxies = {name: os.environ[name] for name in ("http_proxy", "https_proxy", "no_proxy") if os.environ.get(name)}
    try:
        image, _log = client.images.build(
            path=str(clone), tag=tag, buildargs={"BASE": base, **proxies}, network_mode="host", rm=True, forcerm=True,
            labels=labels or {},
        )  # fmt: skip
    except BuildError as error:
        lines = [str(part.get("stream") or part.get("error") or "") for part in error.build_log]
        end = "\n".join("".join(lines).splitlines()[-_LAST_LINES:])
        message = f"the image {tag} could not be built on {base}: {error}\n{end}"
        raise LocalError(message) from None
    return str(image.id)


def read_sbom(client: docker.DockerClient, image: str) -> bytes:
    """Return the list of components (CycloneDX, JSON) that the build wrote into the image."""
    container = client.containers.create(image)
    try:
        pieces, _stat = container.get_archive(SBOM)
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
            held = archive.extractfile(Path(SBOM).name)
            assert held is not None  # noqa: S101 - the archive has exactly this file
            return held.read()
    finally:
        container.remove()

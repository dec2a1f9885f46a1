"""``make image``: build the image of this version; write its list of components beside it."""

import os
import sys

import docker

from deploy.image.base import find_base
from deploy.image.build import build_image, read_sbom
from deploy.local.docker.daemon import reachable_host
from deploy.local.system.errors import LocalError
from deploy.local.workspace import CLONE, RUN_ROOT
from rtmanager import __version__


def main() -> int:
    """Return the exit code. ``BASE`` in the environment names another base image."""
    host = reachable_host(os.environ)
    if host is None:
        sys.stderr.write("no Docker daemon responds; install docker.io, or set DOCKER_HOST\n")
        return 1
    tag = f"rtmanager:{__version__}"
    sbom = RUN_ROOT / "image" / "sbom.cdx.json"
    sbom.parent.mkdir(parents=True, exist_ok=True)
    client = docker.DockerClient(base_url=host, timeout=600)
    try:
        image = build_image(client, CLONE, tag, base=os.environ.get("BASE") or find_base(client, host))
        sbom.write_bytes(read_sbom(client, image))
    except LocalError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        client.close()
    sys.stdout.write(f"  image {tag}, components in {sbom.relative_to(CLONE)}\n")
    return 0


sys.exit(main())

"""Builds the images of the sample game engine, without a registry."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import docker
import requests
from docker.errors import APIError, BuildError, ImageNotFound

from deploy.local.docker.busybox import apt_log, find_busybox
from deploy.local.system.errors import LocalError
from deploy.local.workspace import CACHE

REPOSITORY = "galaxy-engine"
SAMPLE_TAGS = (f"{REPOSITORY}:1.0.0", f"{REPOSITORY}:1.0.1")
DEFAULT_LABELS: Mapping[str, str] = {
    "com.galaxy.cpu_quota": "0.5",
    "com.galaxy.memory": "64m",
    "com.galaxy.pids_limit": "64",
}
_ENGINE = Path(__file__).parents[1] / "engine"
_PUBLIC_BASE = "busybox:stable-musl"
_APPLETS = ("sh", "nc", "wget", "timeout", "date", "sleep", "cat", "ls", "id")


def build_engine(
    client: docker.DockerClient,
    tag: str,
    *,
    labels: Mapping[str, str] | None = None,
    command: Sequence[str] = ("/bin/engine",),
    environment: Mapping[str, str] | None = None,
) -> str:
    """Build the sample engine as ``tag``; return the image id. Idempotent: the second build uses Docker's cache.

    ``labels`` replace the default limits. ``command`` replaces the engine, for an engine that crashes, hangs or floods.
    The tag's version is the version that the engine reports. Raises LocalError if the build fails.
    """
    version = tag.rpartition(":")[2]
    busybox = find_busybox(CACHE)
    recipe = dockerfile(
        base="scratch" if busybox else _PUBLIC_BASE,
        environment={"PATH": "/bin", "ENGINE_VERSION": version, **(environment or {})},
        labels=DEFAULT_LABELS if labels is None else labels,
        command=command,
    )
    try:
        image, _log = client.images.build(
            fileobj=_context(recipe, busybox), custom_context=True, tag=tag, rm=True, forcerm=True
        )
    except (APIError, BuildError) as error:
        raise _build_failure(tag, error, has_busybox=busybox is not None) from None
    return str(image.id)


def _build_failure(tag: str, error: Exception, *, has_busybox: bool) -> LocalError:
    if has_busybox:
        return LocalError(f"Docker could not build the sample engine image {tag}: {error}")
    # Docker's error names a registry that the user did not choose, so it goes to a log; the package is the fix.
    build_log = CACHE / "docker-build.log"
    build_log.parent.mkdir(parents=True, exist_ok=True)
    build_log.write_text(f"{error}\n")
    return LocalError(
        f"the sample engine image {tag} needs a static busybox. None was found in PATH, /bin or /usr/bin; the Debian "
        f"package busybox-static could not be downloaded ({apt_log(CACHE)}); Docker could not build on the public "
        f"image {_PUBLIC_BASE} ({build_log}). Install the package: apt-get install busybox-static"
    )


def remove_samples(client: docker.DockerClient) -> None:
    """Remove the sample images that no container uses. Idempotent."""
    for tag in SAMPLE_TAGS:
        with suppress(ImageNotFound):
            try:
                client.images.remove(tag)
            except APIError as error:
                if error.status_code != requests.codes.conflict:
                    raise


def dockerfile(*, base: str, environment: Mapping[str, str], labels: Mapping[str, str], command: Sequence[str]) -> str:
    """Return a Dockerfile without RUN: it builds on a daemon without any network."""
    lines = [f"FROM {base}", "COPY rootfs /"]
    lines += [f"ENV {name}={_quoted(value)}" for name, value in environment.items()]
    lines += [f"LABEL {name}={_quoted(value)}" for name, value in labels.items()]
    arguments = ", ".join(map(_quoted, command))
    return "\n".join([*lines, "EXPOSE 8080", f"CMD [{arguments}]", ""])


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _context(recipe: str, busybox: Path | None) -> io.BytesIO:
    """Return a build context with fixed times and owners, so that the same content uses the cached image."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, "Dockerfile", recipe.encode(), mode=0o644)
        for name in ("engine", "answer"):
            _add(archive, f"rootfs/bin/{name}", (_ENGINE / name).read_bytes(), mode=0o755)
        if busybox:
            _add(archive, "rootfs/bin/busybox", busybox.read_bytes(), mode=0o755)
            for applet in _APPLETS:
                link = tarfile.TarInfo(f"rootfs/bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
        directory = tarfile.TarInfo("rootfs/tmp")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(directory)
    buffer.seek(0)
    return buffer


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))

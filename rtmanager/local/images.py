"""Images of the sample game engine, built without a registry."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import docker

from rtmanager.local.busybox import find_busybox
from rtmanager.local.places import CACHE

REPOSITORY = "galaxy-engine"
SAMPLE_TAGS = (f"{REPOSITORY}:1.0.0", f"{REPOSITORY}:1.0.1")
DEFAULT_LABELS: Mapping[str, str] = {
    "com.galaxy.cpu_quota": "0.5",
    "com.galaxy.memory": "64m",
    "com.galaxy.pids_limit": "64",
}
_ENGINE = Path(__file__).parent / "engine"
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
    """Build the sample engine as ``tag`` and return the image's id. Idempotent, and quick the second time.

    ``labels`` replace the default limits, ``command`` the engine itself (for one that dies, hangs or floods);
    what stands behind the colon of the tag is the version it answers with.
    """
    version = tag.rpartition(":")[2]
    busybox = find_busybox(CACHE)
    recipe = dockerfile(
        base="scratch" if busybox else _PUBLIC_BASE,
        environment={"PATH": "/bin", "ENGINE_VERSION": version, **(environment or {})},
        labels=DEFAULT_LABELS if labels is None else labels,
        command=command,
    )
    image, _log = client.images.build(
        fileobj=_context(recipe, busybox), custom_context=True, tag=tag, rm=True, forcerm=True
    )
    return str(image.id)


def dockerfile(*, base: str, environment: Mapping[str, str], labels: Mapping[str, str], command: Sequence[str]) -> str:
    """Only steps that need no running container, so it builds on an engine without any network."""
    lines = [f"FROM {base}", "COPY rootfs /"]
    lines += [f"ENV {name}={_quoted(value)}" for name, value in environment.items()]
    lines += [f"LABEL {name}={_quoted(value)}" for name, value in labels.items()]
    words = ", ".join(_quoted(word) for word in command)
    return "\n".join([*lines, "EXPOSE 8080", f"CMD [{words}]", ""])


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _context(recipe: str, busybox: Path | None) -> io.BytesIO:
    """A build context with fixed times and owners: the same content is the same cached image."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, "Dockerfile", recipe.encode(), mode=0o644)
        for name in ("engine", "answer"):
            _add(archive, f"rootfs/bin/{name}", (_ENGINE / name).read_bytes(), mode=0o755)
        if busybox:
            _add(archive, "rootfs/bin/busybox", busybox.read_bytes(), mode=0o755)
            for applet in _APPLETS:
                _link(archive, f"rootfs/bin/{applet}", "busybox")
        _directory(archive, "rootfs/tmp", mode=0o1777)
    buffer.seek(0)
    return buffer


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _link(archive: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    archive.addfile(entry)


def _directory(archive: tarfile.TarFile, name: str, *, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    archive.addfile(entry)

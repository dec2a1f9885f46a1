"""Small game engines as images, built FROM scratch around one static busybox: no registry is needed."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence

import docker

from deploy.local.docker.busybox import find_busybox
from deploy.local.workspace import CACHE
from runtimes.container_spec import LABEL_CPU_QUOTA, LABEL_MEMORY, LABEL_PIDS_LIMIT
from tests.servers.sessions import SESSION_ID, SESSION_LABELS

REPOSITORY = f"rtm-test-engine-{SESSION_ID}"
LIMIT_LABELS = {LABEL_CPU_QUOTA: "0.5", LABEL_MEMORY: "64m", LABEL_PIDS_LIMIT: "64"}

_HEALTHY = ["httpd", "-f", "-p", "8080", "-h", "/www"]
_CRASHING = ["sh", "-c", "exit 3"]
# A shell that ignores TERM passes that on to the programs it starts.
_STUBBORN = ["sh", "-c", "trap '' TERM; exec httpd -f -p 8080 -h /www"]

# Obeys files that a test lays into the state directory, by name:
#   exit         ends with the code that the file holds
#   eat          eats memory until the kernel kills it, a child first: on a busy machine Docker loses the kernel's word
#                about one process in fifty that ends together with its container, and about none that does not
#   feed-child   lets a child eat until the kernel kills that, and lives on
#   fail-probes  answers 503
#   fall-sick    fails Docker's health check
_SWITCHED = """#!/bin/sh
nc -ll -p 8080 -e /bin/answer &
while sleep 0.05; do
    cd "$GAME_STATE_PATH"
    if [ -s exit ]; then exit "$(cat exit)"; fi
    if [ -e eat ]; then { tail /dev/zero; } 2> /dev/null; sleep 0.2; exec tail /dev/zero; fi
    if [ -e feed-child ]; then rm feed-child; tail /dev/zero; fi
done
"""
_ANSWER = """#!/bin/sh
while read -r line && [ "${#line}" -gt 1 ]; do :; done
status='200 OK'
if [ -e "$GAME_STATE_PATH/fail-probes" ]; then status='503 Service Unavailable'; fi
printf 'HTTP/1.1 %s\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n' "$status"
"""
_HEALTH_CHECK = (
    'HEALTHCHECK --interval=300ms --timeout=5s --retries=1 CMD ["sh", "-c", "! [ -e $GAME_STATE_PATH/fall-sick ]"]'
)

SECRET = "hunter2hunter2"  # what no exit report may hold
_TALK = """
echo turn 1; echo api_key=$TURN_TOKEN >&2; cd $GAME_STATE_PATH
if [ -e exit ]; then exit 3; fi
: >> said; tail -f said &
while sleep 0.05; do
    if [ -e exit ]; then exit 3; fi
    if [ -e eat ]; then { tail /dev/zero; } 2> /dev/null; sleep 0.2; exec tail /dev/zero; fi
done
"""
_TALKING = [f"ENV TURN_TOKEN={SECRET}", f"CMD {json.dumps(['sh', '-c', _TALK])}"]


def build_engine(client: docker.DockerClient, tag: str) -> str:
    """A healthy engine: answers ``/healthz`` on port 8080 and carries labels with limits. Returns the reference."""
    return _build(client, tag, command=_HEALTHY, labels=LIMIT_LABELS)


def build_crashing_engine(client: docker.DockerClient) -> str:
    """An engine that exits with 3 at once."""
    return _build(client, "crashing", command=_CRASHING)


def build_stubborn_engine(client: docker.DockerClient) -> str:
    """An engine that serves like a healthy one and ignores SIGTERM."""
    return _build(client, "stubborn", command=_STUBBORN)


def build_switched_engine(client: docker.DockerClient) -> str:
    """An engine controlled by files in its state directory, with a health check and 32 MiB of memory."""
    labels = {**LIMIT_LABELS, LABEL_MEMORY: "32m"}
    return _build(client, "switched", command=["switched"], labels=labels, more=[_HEALTH_CHECK])


def build_talking_engine(client: docker.DockerClient, base: str) -> str:
    """An engine with a secret, that says two lines and then what a test lays into its state directory.

    Files there: ``said`` is written to the log as it grows, ``exit`` ends the engine, ``eat`` makes it eat memory.
    """
    return derive_engine(client, base, name="talking", lines="\n".join(_TALKING))


def derive_engine(client: docker.DockerClient, base: str, *, name: str, lines: str) -> str:
    """Build an image with more Dockerfile lines. It inherits the labels, so it is removed at the end."""
    reference = f"{base}-{name}"
    dockerfile = f"FROM {base}\n{lines}\n".encode()
    for answer in client.api.build(fileobj=io.BytesIO(dockerfile), tag=reference, rm=True, decode=True):
        assert "error" not in answer, answer["error"]
    return reference


def _build(
    client: docker.DockerClient,
    tag: str,
    *,
    command: Sequence[str],
    labels: Mapping[str, str] | None = None,
    more: Sequence[str] = (),
) -> str:
    reference = f"{REPOSITORY}:{tag}"
    lines = ["FROM scratch", "ADD root.tar /", f"ENV ENGINE_VERSION={tag}", f"CMD {json.dumps(list(command))}"]
    everything = {**(labels or {}), **SESSION_LABELS}
    lines += [f"LABEL {name}={json.dumps(value)}" for name, value in everything.items()]
    lines += more
    context = _tar({"Dockerfile": "\n".join(lines).encode(), "root.tar": _root(tag)})
    for answer in client.api.build(
        fileobj=io.BytesIO(context), custom_context=True, tag=reference, rm=True, forcerm=True, decode=True
    ):
        assert "error" not in answer, answer["error"]
    return reference


def _root(tag: str) -> bytes:
    busybox = find_busybox(CACHE)
    assert busybox, "the engine images of the tests need a static busybox: apt-get install busybox-static"
    applets = ["cat", "httpd", "nc", "rm", "sh", "sleep", "tail", "wget"]
    return _tar(
        {
            "bin/busybox": busybox.read_bytes(),
            "bin/switched": _SWITCHED.encode(),
            "bin/answer": _ANSWER.encode(),
            "www/healthz": b"ok\n",
            "www/version": f"{tag}\n".encode(),
        },
        links={f"bin/{applet}": "busybox" for applet in applets},
        folders=("tmp", "var/lib/galaxy-game"),
    )


def _tar(files: Mapping[str, bytes], *, links: Mapping[str, str] | None = None, folders: Sequence[str] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in folders:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
    return buffer.getvalue()

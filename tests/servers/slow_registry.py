"""A registry of images whose layers come as slowly as a test wants: dockerd takes any on loopback without TLS."""

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import docker

from tests.servers import engine_images

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_UNKNOWN = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
# Often enough that the engine does not take the registry for dead.
_TRICKLE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Published:
    """One image in the registry. ``release_all``: its layers may come whole."""

    reference: str
    release_all: threading.Event


class SlowRegistry:
    """The part of the registry API that a pull needs. Everything published is held back until it is let go."""

    def __init__(self) -> None:
        self.layers_asked_for: Counter[str] = Counter()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._manifests: dict[str, bytes] = {}
        self._blobs: dict[str, bytes] = {}
        self._held: dict[str, threading.Event] = {}
        self.images: dict[str, Published] = {}

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_port}"

    def publish(self, client: docker.DockerClient, name: str) -> Published:
        """Put a healthy engine with layers of its own here, and on no Docker host."""
        built = engine_images.build_engine(client, f"registry-{self._server.server_port}-{name}")
        saved = io.BytesIO(b"".join(client.images.get(built).save()))
        client.images.remove(built, force=True)
        release_all = threading.Event()
        with tarfile.open(fileobj=saved) as archive:
            (image,) = json.loads(_content(archive, "manifest.json"))
            config = self._keep(_CONFIG, _content(archive, image["Config"]))
            layers = [self._keep(_LAYER, gzip.compress(_content(archive, path), 1)) for path in image["Layers"]]
        for layer in layers:
            self._held[layer["digest"]] = release_all
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers}
        self._manifests[name] = json.dumps(manifest).encode()
        self.images[name] = Published(f"{self.address}/{name}:1.0.0", release_all)
        return self.images[name]

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """The media type and content of what a path names."""
        kind, _slash, digest = path.removeprefix("/v2/").partition("/")[2].partition("/")
        if path == "/v2/":
            return "application/json", b"{}"
        if kind == "manifests":
            manifest = self._manifests.get(path.split("/")[2])
            return (_MANIFEST, manifest) if manifest else None
        return ("application/octet-stream", self._blobs[digest]) if digest in self._blobs else None

    def held(self, path: str) -> threading.Event | None:
        """What a layer waits for; counts that it was asked for."""
        event = self._held.get(path.rpartition("/")[2])
        if event is not None:
            self.layers_asked_for[path.split("/")[2]] += 1
        return event

    def serve(self) -> None:
        """Answer until closed."""
        self._server.serve_forever(poll_interval=0.1)

    def close(self) -> None:
        """Let everything go and stop."""
        for image in self.images.values():
            image.release_all.set()
        self._server.shutdown()
        self._server.server_close()

    def _keep(self, media_type: str, content: bytes) -> dict[str, Any]:
        digest = _digest(content)
        self._blobs[digest] = content
        return {"mediaType": media_type, "size": len(content), "digest": digest}


@contextmanager
def running_registry() -> Iterator[SlowRegistry]:
    """A registry on a port of its own."""
    registry = SlowRegistry()
    thread = threading.Thread(target=registry.serve, name="slow-registry", daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        registry.close()
        thread.join()


def _handler(registry: SlowRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(whole=True)

        def do_HEAD(self) -> None:
            self._answer(whole=False)

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

        def _answer(self, *, whole: bool) -> None:
            found = registry.answer(self.path)
            media_type, content = found or ("application/json", _UNKNOWN)
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Docker-Content-Digest", _digest(content))
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            self.end_headers()
            if whole:
                # Who asked may be gone by the time it is let go.
                with suppress(OSError):
                    self._write(content, registry.held(self.path))

        def _write(self, content: bytes, release_all: threading.Event | None) -> None:
            sent = 0
            while release_all is not None and not release_all.wait(_TRICKLE_SECONDS) and sent < len(content) - 1:
                self.wfile.write(content[sent : sent + 1])
                sent += 1
            self.wfile.write(content[sent:])

    return Handler


def _content(archive: tarfile.TarFile, path: str) -> bytes:
    return cast("io.BufferedReader", archive.extractfile(path)).read()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"

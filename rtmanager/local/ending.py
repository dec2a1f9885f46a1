"""`make stop` and `make clean`: from another terminal, or after something went badly wrong."""

import os
import shutil
import signal
from contextlib import suppress

from docker.errors import DockerException
from requests.exceptions import RequestException

from rtmanager.local import networks
from rtmanager.local.commands import wait_until
from rtmanager.local.console import Console
from rtmanager.local.containerd import Containerd
from rtmanager.local.dockerd import PrivateEngine, client
from rtmanager.local.errors import LocalError
from rtmanager.local.leftovers import end_leftovers, leftovers
from rtmanager.local.places import KINDS, RUN_ROOT, Place, PlaceLock, place_of

_PATIENCE_SECONDS = 150.0


def stop(console: Console) -> None:
    """End every stack of this clone and whatever a killed one left. Idempotent."""
    busy = [place for place in map(place_of, KINDS) if PlaceLock(place).holder() or leftovers(place)]
    for place in busy:
        with console.step(f"`make {place.kind}` stopped"):
            stop_place(place)
    if not busy:
        console.say("  nothing of this clone is running")


def clean(console: Console) -> None:
    """Stop, then delete everything a stack keeps: data, logs, state of games, private engines. Idempotent."""
    stop(console)
    for place in map(place_of, KINDS):
        if place.home.exists() or place.sockets.exists():
            with console.step(f"what `make {place.kind}` kept removed"):
                _clear_outside_engine(place)
                engine = PrivateEngine(place)
                engine.tidy(engine.bridges())
                Containerd(place).tidy()
                place.remove()
    if RUN_ROOT.exists():
        shutil.rmtree(RUN_ROOT)


def stop_place(place: Place) -> None:
    """Ask the holder of the place to end and wait for it; end what has no holder. Raises LocalError if it stays."""
    lock = PlaceLock(place)
    holder = lock.holder()
    if holder:
        with suppress(ProcessLookupError):
            os.kill(holder, signal.SIGTERM)
        if not wait_until(lambda: lock.holder() is None, timeout_seconds=_PATIENCE_SECONDS):
            message = f"process {holder} (`make {place.kind}`) did not end"
            raise LocalError(message)
    bridges = PrivateEngine(place).bridges()
    end_leftovers(place)
    PrivateEngine(place).tidy(bridges)


def _clear_outside_engine(place: Place) -> None:
    """Games and network on an engine that is not ours; when it is away there is nothing we could do."""
    host, stack = place.remembered_engine()
    if not host:
        return
    with suppress(DockerException, RequestException), client(host) as engine:
        networks.remove_games(engine, stack)
        networks.remove_networks(engine, place.identity)

"""`make test`: every test, on a Docker engine that is there or is ours for the time of the tests."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rtmanager.local.busybox import is_static
from rtmanager.local.commands import apt_install, can_install
from rtmanager.local.console import Console
from rtmanager.local.dockerd import PrivateEngine, private_engine, reachable_host
from rtmanager.local.interrupts import Ending, deaf
from rtmanager.local.leftovers import end_leftovers
from rtmanager.local.places import CLONE, Place, PlaceLock, place_of
from rtmanager.local.supervision import Supervisor


def test(console: Console, arguments: Sequence[str]) -> int:
    """Run pytest with ``arguments`` (everything when there are none); returns its exit code."""
    place = place_of("test")
    lock = PlaceLock(place)
    lock.acquire()
    end_leftovers(place)
    _install_tools(place, console)
    with _engine(place, console) as docker_host:
        console.say()
        return _pytest(docker_host, arguments)


@contextmanager
def _engine(place: Place, console: Console) -> Iterator[str]:
    host = reachable_host(os.environ)
    if host:
        yield host
        return
    engine = private_engine(place)
    with console.step(f"{engine.title} prepared"):
        supervisor = Supervisor(place, [engine.prepare()], directory=CLONE)
    try:
        with console.step(f"{engine.title} answers"):
            supervisor.start(os.environ)
            engine.wait_ready()
        yield engine.host
    finally:
        with deaf(), console.step("everything stopped"):
            _end(supervisor, engine)


def _end(supervisor: Supervisor, engine: PrivateEngine) -> None:
    bridges = engine.bridges()
    supervisor.stop()
    engine.tidy(bridges)


def _install_tools(place: Place, console: Console) -> None:
    """What the tests build their images with when no registry answers, and a browser; only root can add it."""
    missing = [program for program in ("mmdebstrap", "chromium") if not shutil.which(program)]
    busybox = Path("/bin/busybox")
    if not busybox.exists() or not is_static(busybox):
        missing.append("busybox-static")
    if missing and can_install():
        with console.step(f"{', '.join(missing)} from Debian"):
            apt_install(*missing, log=place.log("apt"))


def _pytest(docker_host: str, arguments: Sequence[str]) -> int:
    environment = {**os.environ, "RTMANAGER_DOCKER_HOST": docker_host, "DOCKER_HOST": docker_host}
    process = subprocess.Popen([sys.executable, "-m", "pytest", *arguments], env=environment, cwd=CLONE)  # noqa: S603
    try:
        return process.wait()
    except Ending as ending:
        # The terminal tells pytest itself of Ctrl-C, and a second one would cut its tear-down short.
        if ending.number != signal.SIGINT:
            process.send_signal(signal.SIGINT)
        with deaf():
            return process.wait()

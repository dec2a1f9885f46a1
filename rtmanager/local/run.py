"""`make run`: the service stays up until Ctrl-C."""

import shutil
import time

from rtmanager.local import networks
from rtmanager.local.console import Console
from rtmanager.local.dockerd import client
from rtmanager.local.errors import LocalError
from rtmanager.local.images import SAMPLE_TAGS
from rtmanager.local.places import place_of
from rtmanager.local.stack import Stack, running

_LOOK_SECONDS = 2.0
_EXAMPLE_GAME = "my-first-game"


def run(console: Console) -> None:
    """Bring the stack up, say how to use it, report processes that die, take it down when interrupted."""
    console.say("Runtime Manager, local stack\n")
    with running(place_of("run"), console) as stack:
        console.say(welcome(stack))
        try:
            _watch(stack, console)
        except KeyboardInterrupt:
            console.say("\n\nending\n")
            _mention_games(stack, console)


def welcome(stack: Stack) -> str:
    """Addresses, the admin's user and ready-made commands."""
    config = stack.config
    secret = stack.place.secret_file("admin")
    password = config.admin_bootstrap_password.get_secret_value()
    shown = f"{password}  (kept in {secret})" if secret.exists() else "the one in RTMANAGER_ADMIN_BOOTSTRAP_PASSWORD"
    image = SAMPLE_TAGS[0]
    now = "requested_at_ms $(date +%s000)"
    streams = redis_cli(config.streams_url)
    lines = [
        "",
        "The service is up.",
        "",
        f"  API        {stack.url}/api/v1/internal/runtimes",
        f"  API docs   {stack.url}/api/docs/",
        f"  Admin      {stack.url}/admin/",
        f"  User       {config.admin_bootstrap_user}",
        f"  Password   {shown}",
        f"  Docker     {stack.docker_host}, network {config.docker_network}",
        f"  Logs       {stack.place.logs}",
        "",
        "Start a game, see the answer, look at the record, stop the game:",
        "",
        f"  {streams} XADD {config.start_jobs_stream} '*' game_id {_EXAMPLE_GAME} image_ref {image} {now}",
        f"  {streams} XREVRANGE {config.job_results_stream} + - COUNT 1",
        f"  curl -s {stack.url}/api/v1/internal/runtimes/{_EXAMPLE_GAME}",
        f"  {streams} XADD {config.stop_jobs_stream} '*' game_id {_EXAMPLE_GAME} reason cancelled {now}",
    ]
    if not shutil.which("redis-cli"):
        lines += ["", "  (redis-cli is not installed here; in Debian it is in the package redis-tools)"]
    return "\n".join([*lines, "", "Ctrl-C, or `make stop` in another terminal, ends everything.", ""])


def redis_cli(streams_url: str) -> str:
    """The command that opens the Redis of the streams."""
    if streams_url.startswith("unix://"):
        path, _, _query = streams_url.removeprefix("unix://").partition("?")
        return f"redis-cli -s {path}"
    return f"redis-cli -u {streams_url}"


def _watch(stack: Stack, console: Console) -> None:
    """Until interrupted: the supervisor restarts what dies, we say that it did."""
    seen = {state["name"]: state["pid"] for state in stack.processes()}
    while True:
        time.sleep(_LOOK_SECONDS)
        if not stack.is_supervised:
            message = f"the process supervisor died; see {stack.place.log('supervisord')}"
            raise LocalError(message)
        for state in stack.processes():
            name, pid = state["name"], state["pid"]
            if pid and pid != seen[name]:
                console.say(f"  {name} died and was started again; see {stack.place.log(name)}")
                seen[name] = pid


def _mention_games(stack: Stack, console: Console) -> None:
    if stack.engine_is_private:
        return
    with client(stack.docker_host) as engine:
        count = networks.count_games(engine, stack.config.stack)
    if count:
        console.say(f"  {count} game(s) keep running in Docker, as they do whenever the service is away;")
        console.say("  the next `make run` finds them again, `make clean` removes them\n")

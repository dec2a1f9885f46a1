"""`make run`: runs the service until Ctrl-C."""

import shutil
import time

from deploy.local.console import Console
from deploy.local.docker import cleanup
from deploy.local.docker.daemon import connect_docker
from deploy.local.docker.sample_images import SAMPLE_TAGS
from deploy.local.stack import Stack, running
from deploy.local.system.errors import LocalError
from deploy.local.workspace import workspace_of

_CHECK_SECONDS = 2.0
_EXAMPLE_GAME = "my-first-game"


def run(console: Console) -> None:
    """Start the stack, print how to use it, report processes that die, stop the stack on Ctrl-C."""
    console.say("Runtime Manager, local stack\n")
    with running(workspace_of("run"), console) as stack:
        console.say(welcome(stack))
        try:
            _watch(stack, console)
        except KeyboardInterrupt:
            console.say("\n\nstopping\n")
            _report_running_games(stack, console)


def welcome(stack: Stack) -> str:
    """Return the addresses, the admin user and example commands."""
    config = stack.config
    secret = stack.workspace.secret_file("admin")
    password = config.admin_bootstrap_password.get_secret_value()
    shown = f"{password}  (stored in {secret})" if secret.exists() else "see RTMANAGER_ADMIN_BOOTSTRAP_PASSWORD"
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
        f"  Logs       {stack.workspace.logs}",
        "",
        "Start a game, read the result, read the record, stop the game:",
        "",
        f"  {streams} XADD {config.start_jobs_stream} '*' game_id {_EXAMPLE_GAME} image_ref {image} {now}",
        f"  {streams} XREVRANGE {config.job_results_stream} + - COUNT 1",
        f"  curl -s {stack.url}/api/v1/internal/runtimes/{_EXAMPLE_GAME}",
        f"  {streams} XADD {config.stop_jobs_stream} '*' game_id {_EXAMPLE_GAME} reason cancelled {now}",
        "",
        "The command line, in this clone:",
        "",
        f"  export RTM_URL={stack.url}",
        "  .venv/bin/python -m rtmanager.cli list",
    ]
    if not shutil.which("redis-cli"):
        lines += ["", "  (redis-cli is not installed; Debian has it in the package redis-tools)"]
    return "\n".join([*lines, "", "Ctrl-C, or `make stop` in another terminal, stops everything.", ""])


def redis_cli(streams_url: str) -> str:
    """Return the command that connects to the Redis of the streams."""
    if streams_url.startswith("unix://"):
        path, _, _query = streams_url.removeprefix("unix://").partition("?")
        return f"redis-cli -s {path}"
    return f"redis-cli -u {streams_url}"


def _watch(stack: Stack, console: Console) -> None:
    """Report each process that the supervisor restarts, until interrupted."""
    pids = {state["name"]: state["pid"] for state in stack.processes()}
    while True:
        time.sleep(_CHECK_SECONDS)
        if not stack.is_supervised:
            message = f"the process supervisor died; see {stack.workspace.log('supervisord')}"
            raise LocalError(message)
        for state in stack.processes():
            name, pid = state["name"], state["pid"]
            if pid and pid != pids[name]:
                console.say(f"  {name} exited and was restarted; see {stack.workspace.log(name)}")
                pids[name] = pid


def _report_running_games(stack: Stack, console: Console) -> None:
    if stack.docker_is_private:
        return
    with connect_docker(stack.docker_host) as client:
        count = cleanup.count_games(client, stack.config.stack)
    if count:
        console.say(f"  {count} game(s) keep running in Docker while the service is stopped;")
        console.say("  the next `make run` finds them again, `make clean` removes them\n")

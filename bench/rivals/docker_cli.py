"""The command line: ``docker run -d`` with everything that the service asks for."""

import shutil
import subprocess
import time
from typing import Any

from bench.rivals.spec import Specs
from deploy.local.system.errors import LocalError
from runtimes.container_spec import ContainerSpec
from runtimes.containers.docker.payloads import create_request

_TIMEOUT_SECONDS = 120


def started(docker_host: str, specs: Specs, game_id: str) -> float:
    """Run it; return the milliseconds until the command has exited. Raises LocalError if it fails."""
    words = [_program(), "--host", docker_host, *run_words(specs.make(game_id))]
    began = time.perf_counter()
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise LocalError(f"docker run did not exit within {_TIMEOUT_SECONDS} s") from None
    took = (time.perf_counter() - began) * 1000
    if done.returncode:
        message = f"docker run failed: {done.stderr.strip()}"
        raise LocalError(message)
    return took


def run_words(spec: ContainerSpec) -> list[str]:
    """The arguments of ``docker`` for this container. Pure."""
    body = create_request(spec)
    host = body["HostConfig"]
    mount = host["Mounts"][0]
    options = {
        "--name": spec.name,
        "--hostname": body["Hostname"],
        "--stop-timeout": body["StopTimeout"],
        "--network": host["NetworkMode"],
        "--restart": host["RestartPolicy"]["Name"],
        "--cpus": spec.limits.cpu_quota,
        "--memory": host["Memory"],
        "--memory-swap": host["MemorySwap"],
        "--pids-limit": host["PidsLimit"],
        "--oom-score-adj": host["OomScoreAdj"],
        "--log-driver": host["LogConfig"]["Type"],
        "--mount": f"type=bind,source={mount['Source']},target={mount['Target']}",
        **({"--user": spec.user} if spec.user else {}),
    }
    words = [word for name, value in options.items() for word in (name, str(value))]
    for name, values in _repeated(body).items():
        words += [word for value in values for word in (name, value)]
    flags = ["--init", *(["--read-only"] if host["ReadonlyRootfs"] else [])]
    return ["run", "--detach", *flags, *words, body["Image"]]


def _repeated(body: dict[str, Any]) -> dict[str, list[str]]:
    host = body["HostConfig"]
    return {
        "--label": [f"{name}={value}" for name, value in body["Labels"].items()],
        "--env": body["Env"],
        "--cap-drop": host["CapDrop"],
        "--security-opt": host["SecurityOpt"],
        "--ulimit": [f"{one['Name']}={one['Soft']}:{one['Hard']}" for one in host["Ulimits"]],
        "--log-opt": [f"{name}={value}" for name, value in host["LogConfig"]["Config"].items()],
        "--tmpfs": [f"{path}:{options}" for path, options in host["Tmpfs"].items()],
    }


def _program() -> str:
    found = shutil.which("docker")
    if found is None:
        message = "the command line of Docker is not installed; in Debian it is in the package docker.io or docker-cli"
        raise LocalError(message)
    return found

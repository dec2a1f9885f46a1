"""The running service follows the OpenAPI document, checked with generated requests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.workspace import CLONE
from tests.acceptance.conftest import MakeService
from tests.servers.service import Service

_EXAMPLES = 8
# CI tries the same cases each time. Another run prints its seed.
_SEED = ["--seed", "20261130"] if os.environ.get("CI") == "true" else []
# Half a minute on a quiet machine.
_LIMIT_SECONDS = 800
_HOOKS = Path(__file__).parent / "schemathesis_hooks.py"


@pytest.mark.timeout(_LIMIT_SECONDS + 100)
def test_no_request_whatever_gets_an_answer_that_the_document_does_not_describe(
    make_service: MakeService, engine_image: str, engine_image_next: str, tmp_path: Path
) -> None:
    # Generated image names are never pulled from a registry.
    service = make_service(
        API_AUTH="token", IMAGE_PULL_POLICY="never", REST_WAIT_SECONDS="5", CONTAINER_STOP_TIMEOUT_SECONDS="0"
    )
    service.start()

    done = run_schemathesis(service, tmp_path, images=f"{engine_image} {engine_image_next}")

    print(done.stdout)  # noqa: T201 - what was tried, and with which seed
    assert (done.returncode, done.stderr) == (0, "")
    assert any(operation == ("success",) for operation in service.rows("SELECT outcome FROM operations_operation"))


def run_schemathesis(service: Service, folder: Path, *, images: str) -> "subprocess.CompletedProcess[str]":
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{service.client.base_url}/api/schema/"),
        *("--header", f"Authorization: Bearer {make_token(service)}"),
        # Its own idea of a server error is replaced by the contract's, in the hooks.
        *("--exclude-checks", "not_a_server_error", "--continue-on-failure"),
        # A number of cases, and no time: a busy machine tries the same ones.
        *("--max-examples", str(_EXAMPLES), *_SEED, "--workers", "1", "--no-color"),
    ]
    environment = {"PATH": os.environ["PATH"], "SCHEMATHESIS_HOOKS": str(_HOOKS), "IMAGES": images}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False
    )


def make_token(service: Service) -> str:
    command = [sys.executable, "manage.py", "api_token", "create", "stranger", "--caller", "gm", "--json"]
    scopes = ["--scope", "read", "--scope", "operate"]
    done = subprocess.run([*command, *scopes], cwd=CLONE, env=service.environment, capture_output=True, check=True)
    return str(json.loads(done.stdout)["token"])

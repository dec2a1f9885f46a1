"""The units of ``deploy/systemd``: hardened, without root, and with the commands that exist."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from django.core.management import get_commands

from rtmanager.config import Config
from tasks.broker import queues
from tests.paths import ROOT

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
HARDENING = {
    "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes",
    "PrivateTmp": "yes", "PrivateDevices": "yes", "RestrictNamespaces": "yes", "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native", "LockPersonality": "yes",
}  # fmt: skip


def values(unit: Path) -> dict[str, str]:
    """The settings of a unit; of repeated ones the last."""
    return dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_each_unit_is_hardened(unit: Path) -> None:
    assert {name: values(unit).get(name) for name in HARDENING} == HARDENING


def test_only_the_gateway_has_the_group_of_docker_and_a_capability() -> None:
    groups = {unit.name for unit in UNITS if "docker" in values(unit).get("SupplementaryGroups", "").split()}
    capable = {unit.name for unit in UNITS if values(unit)["CapabilityBoundingSet"]}
    own_user = {unit.name for unit in UNITS if values(unit)["User"] != "rtmanager"}

    assert groups == capable == own_user == {"rtmanager-docker-gateway.service"}


def test_the_web_process_has_no_way_to_docker() -> None:
    (web,) = (unit for unit in UNITS if unit.name == "rtmanager-web.service")

    assert "docker" not in web.read_text(encoding="utf-8")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_rates_the_exposure_of_each_unit_below_two(unit: Path) -> None:
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit],
        check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert rated.returncode == 0, rated.stdout[-2000:] + rated.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_each_unit_waits_longer_than_the_shutdown_of_its_process(unit: Path) -> None:
    assert int(values(unit)["TimeoutStopSec"]) > Config().shutdown_timeout.total_seconds()


def test_each_command_exists() -> None:
    commands = [shlex.split(values(unit)["ExecStart"]) for unit in UNITS]
    managed = {command[1] for command in commands if command[0].endswith("/rtmanager")}
    (worker,) = (command for command in commands if command[0].endswith("/celery"))

    assert managed <= set(get_commands())
    assert worker[worker.index("-Q") + 1] == ",".join(queues())


def test_the_target_starts_every_unit() -> None:
    assert values(ROOT / "deploy/systemd/rtmanager.target")["Wants"].split() == [
        f"rtmanager-{name}.service" for name in ("docker-gateway", "web", "loops", "worker")
    ]
    assert len(UNITS) == 4

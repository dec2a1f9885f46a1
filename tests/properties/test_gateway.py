"""The rule of the gateway for containers: whatever is accepted is exactly what RTM writes for a game."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st

from runtimes.container_spec import LOG_DRIVERS, ContainerSpec, Limits, build_spec
from runtimes.containers.docker.payloads import create_request
from runtimes.exceptions import InvalidRequestError
from runtimes.gateway.calls import CallRefusedError
from runtimes.gateway.create_rules import CreateRules
from runtimes.storage.image_volumes import plan_volumes
from tests.gateway_policy import POLICY
from tests.properties.cases import holds_for

RULES = CreateRules(POLICY)

game_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,50}", fullmatch=True)
limits = st.builds(
    Limits,
    st.integers(1, 800).map(lambda hundredths: hundredths / 100),
    st.integers(6 * 2**20, 2**40),
    st.integers(2, 4096),
)
paths = st.lists(st.sampled_from(["data", "a b", "ü", "saves", "auto", "x%y", "tmp"]), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
volume_paths = paths | paths.map(lambda path: f"/var/lib/galaxy-game{path}")


@st.composite
def specs(draw: st.DrawFn) -> ContainerSpec:
    return build_spec(
        replace(POLICY, log_driver=draw(st.sampled_from(LOG_DRIVERS))),
        game_id=draw(game_ids),
        image_ref=draw(st.sampled_from(["game", "game:1.0.0", "registry.example:5000/team/game:2.1.3"])),
        image=draw(
            st.just("") | st.text("0123456789abcdef", min_size=64, max_size=64).map(lambda text: f"sha256:{text}")
        ),
        limits=draw(limits),
        volumes=plan_volumes(draw(st.lists(volume_paths, max_size=4)), mount_path=POLICY.state_mount_path),
        operation_id=draw(st.integers(1, 10**9)),
        job_key=draw(st.text("abc:-ü ", max_size=20)),
        fence=draw(st.integers(0, 10**9)),
        started_at_ms=draw(st.integers(0, 10**13)),
    )


values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "/", "ALL", "host", "bind", "/srv/games/g1", "/etc", "no", "galaxy-net", "game:1.0.0"])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["Type", "Source", "Name", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = ["Privileged", "Binds", "CapAdd", "PidMode", "Devices", "Image", "User", "Cmd", "HostConfig", "Labels", "x"]


@st.composite
def changed_bodies(draw: st.DrawFn) -> dict[str, Any]:
    """A request of RTM with up to three parts replaced, added or removed."""
    body = create_request(draw(specs()))
    body = json.loads(json.dumps(body))
    for _ in range(draw(st.integers(1, 3))):
        part: Any = body
        while True:
            inner = [part[key] for key in part] if isinstance(part, dict) else list(part)
            deeper = [value for value in inner if isinstance(value, dict | list) and value]
            if not deeper or draw(st.booleans()):
                break
            part = draw(st.sampled_from(deeper))
        _change(draw, part)
    return body  # type: ignore[no-any-return]


def _change(draw: st.DrawFn, part: Any) -> None:
    if isinstance(part, dict):
        key = draw(st.sampled_from([*part, *KEYS]))
        if key in part and draw(st.booleans()):
            del part[key]
        else:
            part[key] = draw(values)
    elif part and draw(st.booleans()):
        part.pop(draw(st.integers(0, len(part) - 1)))
    else:
        part.insert(draw(st.integers(0, len(part))), draw(values))


@holds_for(specs(), cases=500)
def test_what_rtm_writes_is_accepted_unchanged(spec: ContainerSpec) -> None:
    assert RULES.parse(spec.name, json.dumps(create_request(spec)).encode()) == spec


@holds_for(changed_bodies(), cases=1_500)
def test_what_is_accepted_is_what_rtm_writes(body: dict[str, Any]) -> None:
    name = str(body.get("Hostname"))
    try:
        spec = RULES.parse(name, json.dumps(body).encode())
    except CallRefusedError:
        return

    written = create_request(spec)
    assert json.dumps(written, sort_keys=True) == json.dumps(body, sort_keys=True)
    host = written["HostConfig"]
    assert (host["CapDrop"], host["SecurityOpt"], host["ReadonlyRootfs"]) == (["ALL"], ["no-new-privileges:true"], True)
    assert host["NetworkMode"] == "galaxy-net"
    game_id = spec.labels["com.galaxy.game_id"]
    assert spec.name == written["Hostname"] == f"galaxy-game-{game_id}"
    assert all(f"{mount['Source']}/".startswith(f"/srv/games/{game_id}/") for mount in host["Mounts"])
    assert all(".." not in mount["Source"].split("/") for mount in host["Mounts"])
    assert host["Memory"] == host["MemorySwap"] >= 6 * 2**20
    assert 2 <= host["PidsLimit"] <= 4096
    assert "Privileged" not in host


@holds_for(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), cases=500)
def test_any_bytes_are_refused_by_our_own_errors_alone(raw: bytes) -> None:
    with pytest.raises((CallRefusedError, InvalidRequestError)):
        RULES.parse("galaxy-game-g1", raw)

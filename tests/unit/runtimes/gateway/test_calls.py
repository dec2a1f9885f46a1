"""Which request lines are calls of RTM, and which filters pass."""

import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.container_spec import LABEL_GAME_ID, LABEL_OWNER, LABEL_STACK
from runtimes.exceptions import InvalidRequestError
from runtimes.gateway.calls import (
    ROUTES,
    Call,
    CallRefusedError,
    Reason,
    Role,
    check_image,
    container_filters,
    network_filters,
    parse_request,
)

CONTAINER = "c" * 64
READING = {
    "/_ping": Call.PING,
    "/v1.41/version": Call.VERSION,
    "/version": Call.VERSION,
    "/v1.55/info": Call.INFO,
    "/v1.41/events?since=1700000000.000000001": Call.EVENTS,
    "/v1.41/containers/json?all=1&limit=-1": Call.LIST,
    f"/v1.41/containers/{CONTAINER}/json": Call.INSPECT,
    "/v1.41/containers/galaxy-game-g1/logs?stdout=1&stderr=1&timestamps=1&tail=10&follow=1": Call.LOGS,
    f"/v1.41/containers/{CONTAINER}/stats?stream=false": Call.STATS,
    "/v1.41/images/registry.example:5000/team/game:1.0.0/json": Call.INSPECT_IMAGE,
    "/v1.41/images/game%40sha256%3A00/json": Call.INSPECT_IMAGE,
    "/v1.41/networks?filters=%7B%7D": Call.LIST_NETWORKS,
    "/v1.41/networks/bridge": Call.INSPECT_NETWORK,
}
CHANGING = {
    ("POST", "/v1.41/containers/create?name=galaxy-game-g1"): Call.CREATE,
    ("POST", f"/v1.41/containers/{CONTAINER}/start"): Call.START,
    ("POST", f"/v1.41/containers/{CONTAINER}/stop?t=30"): Call.STOP,
    ("POST", f"/v1.41/containers/{CONTAINER}/wait"): Call.WAIT,
    ("POST", f"/v1.41/containers/{CONTAINER}/rename?name=galaxy-game-g1"): Call.RENAME,
    ("DELETE", f"/v1.41/containers/{CONTAINER}?v=True&link=False&force=True"): Call.REMOVE,
    ("POST", "/v1.41/images/create?tag=1.0.0&fromImage=registry.example%2Fgame"): Call.PULL,
}
UNKNOWN = [
    ("POST", "/v1.41/containers/{id}/exec"),
    ("POST", "/v1.41/containers/{id}/attach"),
    ("GET", "/v1.41/containers/{id}/archive?path=/"),
    ("PUT", "/v1.41/containers/{id}/archive?path=/"),
    ("HEAD", "/v1.41/containers/{id}/archive?path=/"),
    ("GET", "/v1.41/containers/{id}/export"),
    ("GET", "/v1.41/containers/{id}/top"),
    ("GET", "/v1.41/containers/{id}/changes"),
    ("POST", "/v1.41/containers/{id}/update"),
    ("POST", "/v1.41/containers/{id}/resize"),
    ("POST", "/v1.41/containers/{id}/restart"),
    ("POST", "/v1.41/containers/{id}/kill"),
    ("POST", "/v1.41/containers/{id}/pause"),
    ("POST", "/v1.41/containers/{id}/checkpoints"),
    ("GET", "/v1.41/containers/{id}/attach/ws"),
    ("POST", "/v1.41/exec/{id}/start"),
    ("POST", "/v1.41/commit?container={id}"),
    ("POST", "/v1.41/build"),
    ("POST", "/v1.41/build/prune"),
    ("POST", "/v1.41/containers/prune"),
    ("POST", "/v1.41/images/prune"),
    ("POST", "/v1.41/networks/prune"),
    ("POST", "/v1.41/volumes/prune"),
    ("GET", "/v1.41/volumes"),
    ("POST", "/v1.41/volumes/create"),
    ("DELETE", "/v1.41/volumes/x"),
    ("GET", "/v1.41/images/json"),
    ("POST", "/v1.41/images/load"),
    ("GET", "/v1.41/images/get?names=x"),
    ("POST", "/v1.41/images/x/push"),
    ("POST", "/v1.41/images/x/tag?repo=y"),
    ("DELETE", "/v1.41/images/x"),
    ("GET", "/v1.41/networks/galaxy-net"),
    ("GET", "/v1.41/networks/host"),
    ("POST", "/v1.41/networks/create"),
    ("POST", "/v1.41/networks/galaxy-net/connect"),
    ("DELETE", "/v1.41/networks/galaxy-net"),
    ("GET", "/v1.41/plugins"),
    ("POST", "/v1.41/plugins/pull?remote=x"),
    ("POST", "/v1.41/swarm/init"),
    ("GET", "/v1.41/swarm"),
    ("GET", "/v1.41/nodes"),
    ("GET", "/v1.41/services"),
    ("POST", "/v1.41/services/create"),
    ("GET", "/v1.41/tasks"),
    ("GET", "/v1.41/secrets"),
    ("GET", "/v1.41/configs"),
    ("POST", "/v1.41/session"),
    ("POST", "/v1.41/grpc"),
    ("POST", "/v1.41/auth"),
    ("GET", "/v1.41/system/df"),
    ("GET", "/v1.41/distribution/x/json"),
    ("GET", "/metrics"),
    ("GET", "/debug/pprof"),
    ("HEAD", "/_ping"),
    ("OPTIONS", "/v1.41/containers/json"),
    ("CONNECT", "docker:80"),
    ("GET", "http://docker/v1.41/containers/json"),
    ("GET", "*"),
    ("GET", ""),
    # Spellings of a path that Docker or a library may read as another one.
    ("GET", "//containers/json"),
    ("GET", "/v1.41//containers/json"),
    ("GET", "/v1.41/containers//json"),
    ("GET", "/v1.41/../v1.41/containers/json"),
    ("GET", "/v1.41/containers/../containers/json"),
    ("GET", "/v1.41/containers/%2e%2e/json"),
    ("GET", "/v1.41/containers/..%2f..%2fimages/json"),
    ("GET", "/v1.41/%63ontainers/json"),
    ("GET", "/v1.41/containers/json/"),
    ("GET", "/v1.41/Containers/json"),
    ("GET", "/V1.41/containers/json"),
    ("GET", "/v1.41/containers/json#fragment"),
    ("GET", "/v1.41/containers/json;x=1"),
    ("GET", "/v1.41/containers/json\x00"),
    ("GET", "/v1.41/containers/json\n"),
    ("GET", "/v1.41/containers/x y/json"),
    ("GET", "/v1.41/containers/-x/json"),
    ("GET", "/v01.41/containers/json"),
    ("GET", "/v2.0/containers/json"),
    ("GET", "/v1.41.0/containers/json"),
    ("GET", "/v1.41/v1.41/containers/json"),
    ("get", "/v1.41/containers/json"),
    ("GET", "/v1.41/containers/json?filters=\udcff"),
]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("target", READING)
def test_both_roles_may_read(role: Role, target: str) -> None:
    assert parse_request(role, "GET", target).call == READING[target]


@pytest.mark.parametrize(("method", "target"), CHANGING)
def test_only_operate_may_change(method: str, target: str) -> None:
    assert parse_request(Role.OPERATE, method, target).call == CHANGING[method, target]
    with pytest.raises(CallRefusedError, match=r"operate\.sock") as refused:
        parse_request(Role.WATCH, method, target)
    assert refused.value.reason == Reason.ROLE


def test_each_call_has_an_example_here() -> None:
    assert {*READING.values(), *CHANGING.values()} == set(Call)
    assert set(ROUTES) == set(Call)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("method", "target"), UNKNOWN)
def test_every_other_call_is_refused(role: Role, method: str, target: str) -> None:
    with pytest.raises(CallRefusedError) as refused:
        parse_request(role, method, target.replace("{id}", CONTAINER))

    assert refused.value.reason == Reason.UNKNOWN_CALL


@given(st.sampled_from(Role), st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD"]), st.text(max_size=60))
def test_a_random_target_is_written_again_as_it_was_or_refused(role: Role, method: str, target: str) -> None:
    try:
        request = parse_request(role, method, f"/{target}")
    except CallRefusedError:
        return

    assert request.path == f"/{target}"


@pytest.mark.parametrize(
    "query",
    [
        "all=1&all=1",
        "all=1&all=0",
        "ALL=1",
        "all=2",
        "all",
        "all=1&before=x",
        "all=1;limit=-1",
        "all=%ff",
        "&".join(["all=1"] * 20),
    ],
)
def test_a_query_with_anything_else_is_refused(query: str) -> None:
    with pytest.raises(CallRefusedError) as refused:
        parse_request(Role.OPERATE, "GET", f"/v1.41/containers/json?{query}")

    assert refused.value.reason == Reason.MALFORMED


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("DELETE", f"/v1.41/containers/{CONTAINER}?link=True"),
        ("POST", f"/v1.41/containers/{CONTAINER}/stop?t=-1"),
        ("POST", f"/v1.41/containers/{CONTAINER}/start?detachKeys=x"),
        ("POST", f"/v1.41/containers/{CONTAINER}/start?checkpoint=x"),
        ("POST", f"/v1.41/containers/{CONTAINER}/wait?condition=removed"),
        ("POST", "/v1.41/containers/create?name=x&platform=linux"),
        ("POST", "/v1.41/images/create?fromSrc=http://attacker.example"),
        ("POST", "/v1.41/images/create?fromImage=x&tag=1&changes=ENTRYPOINT"),
    ],
)
def test_a_parameter_that_rtm_does_not_use_is_refused(method: str, target: str) -> None:
    with pytest.raises(CallRefusedError) as refused:
        parse_request(Role.OPERATE, method, target)

    assert refused.value.reason == Reason.MALFORMED


def test_a_version_below_the_floor_is_refused_in_the_words_of_docker() -> None:
    with pytest.raises(CallRefusedError, match=r"client version 1\.40 is too old"):
        parse_request(Role.OPERATE, "GET", "/v1.40/containers/json")


def test_an_image_reference_is_decoded_once_and_written_again() -> None:
    reference = f"registry.example:5000/team/game@sha256:{'a' * 64}"

    request = parse_request(Role.WATCH, "GET", f"/v1.41/images/{quote(reference, safe='/:')}/json")

    assert request.target == reference
    assert request.path == f"/v1.41/images/{quote(reference, safe='/:')}/json"


@pytest.mark.parametrize("text", ["../../containers", "x/../../containers/c", "%2e%2e/x", "x y", "UPPER/x", "x?y", "é"])
def test_a_path_in_place_of_an_image_is_refused(text: str) -> None:
    with pytest.raises(CallRefusedError) as refused:
        check_image(text, ())

    assert refused.value.reason == Reason.IMAGE


class TestFilters:
    owned = [f"{LABEL_OWNER}=rtmanager", f"{LABEL_STACK}=one"]

    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"label": owned},
            {"label": [owned[0]]},
            {"label": [*owned, f"{LABEL_GAME_ID}=g1"]},
            {"id": ["a" * 64, "b" * 64]},
        ],
    )
    def test_a_list_always_has_the_labels_of_this_stack(self, given: dict[str, list[str]]) -> None:
        filters = json.loads(container_filters(json.dumps(given), stack="one"))

        assert set(self.owned) <= set(filters["label"])
        assert filters.get("id") == given.get("id")

    def test_without_filters_the_events_are_those_of_this_stack(self) -> None:
        assert json.loads(container_filters("", stack="one", of_events=True)) == {
            "label": self.owned,
            "type": ["container"],
        }

    @pytest.mark.parametrize(
        "given",
        [
            {"label": [f"{LABEL_STACK}=two"]},
            {"label": [f"{LABEL_OWNER}=other"]},
            {"label": [LABEL_OWNER]},
            {"label": [f"{LABEL_GAME_ID}=../x"]},
            {"label": {f"{LABEL_STACK}=one": True}},
            {"label": "x"},
            {"label": [1]},
            {"id": ["galaxy-game-g1"]},
            {"name": ["x"]},
            {"ancestor": ["x"]},
            [],
            "x",
            None,
        ],
    )
    def test_another_filter_is_refused(self, given: object) -> None:
        with pytest.raises(CallRefusedError) as refused:
            container_filters(json.dumps(given), stack="one")

        assert refused.value.reason == Reason.FILTER

    @pytest.mark.parametrize("text", ['{"label": [], "label": []}', "{", "{} {}", '{"label": [NaN]}'])
    def test_filters_that_are_no_strict_json_are_refused(self, text: str) -> None:
        with pytest.raises(InvalidRequestError):
            container_filters(text, stack="one")

    @pytest.mark.parametrize("given", [{}, {"name": ["other"]}, {"name": ["galaxy-net", "other"]}, {"id": ["x"]}])
    def test_only_the_configured_network_may_be_listed(self, given: object) -> None:
        assert json.loads(network_filters('{"name": ["galaxy-net"]}', network="galaxy-net")) == {"name": ["galaxy-net"]}
        with pytest.raises(CallRefusedError) as refused:
            network_filters(json.dumps(given), network="galaxy-net")

        assert refused.value.reason == Reason.FILTER


def test_a_query_is_written_again() -> None:
    query = {"name": "galaxy-game-g1"}

    request = parse_request(Role.OPERATE, "POST", f"/v1.41/containers/create?{urlencode(query)}")

    assert request.path == "/v1.41/containers/create?name=galaxy-game-g1"
